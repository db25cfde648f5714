"""Withheld callers: what is written in the place of an address when there is nobody to name.

Sources: the words of SIP (RFC 3323, RFC 5767), of Asterisk (which calls itself `asterisk` where a call has no
number) and of FreeSWITCH, what telephones show in other languages; the numbers that Twilio documents for
withheld callers, which spell ANONYMOUS, RESTRICTED, BLOCKED, UNKNOWN and UNAVAILABLE on a telephone's keys.
"""

from __future__ import annotations

import re
from typing import Final

WORDS: Final = frozenset(
    "anonymous restricted unavailable unknown private withheld blocked <null> null (null) <unknown> <anonymous> none "
    "unassigned nobody no-caller-id noname asterisk n/a <> unbekannt anonym anonyme inconnu desconocido".split()
) | {
    "no caller id",
    "no number",
    "numéro masqué",
    "número privado",
    "caller id blocked",
    "number withheld",
    "private number",
    "unknown caller",
    "not available",
}
_ALONE: Final = frozenset(re.sub(r"[\W_]", "", word) for word in WORDS) - {""} | frozenset(
    # What telephones and switches show, and what programs write where they have nothing.
    "outofarea nocallerid callerid calleridunavailable calleridwithheld userunavailable notprovided notset undefined "
    "nil nan undisclosedrecipients undisclosedrecipient recipientlistnotshown "
    "payphone coinlinepayphone coinline interactionwithotherservice unterdrückt privat numeroprivado "
    "desconhecido sconosciuto numerosconosciuto privénummer onbekend неизвестно скрытыйномер 非通知 非通知設定 "
    "表示圏外 公衆電話 通知不可能 未知号码 未知 隐藏号码 발신번호표시제한 مجهول".split()
)
"""The same without what stands between letters: `NoCallerID`, `No Caller-ID` and `no caller id` are one."""
USERS: Final = frozenset({"anonymous", "restricted", "unavailable", "unknown", "private", "withheld"})
"""Users of a SIP URI that are nobody wherever they are from: many a border writes its own address behind them."""
NUMBERS: Final = ("266696687", "7378742833", "2562533", "8656696", "8566696", "86282452253")
_ZEROS: Final = re.compile(r"[+]?0+|[-*.?x\s]+")
_NO_HOST: Final = re.compile(
    rf"(?:{'|'.join(sorted(USERS))})@(?:anonymous|restricted|unknown|unavailable)\.invalid(?:[;>].*)?"
)
_URI: Final = re.compile(
    rf"(?:sips?:(?:{'|'.join(sorted(USERS))})(?:[:;][^@]*)?@.*|tel:(?P<tel>[^;]*).*)", re.DOTALL
)
_INNER: Final = re.compile(r"[^<>]*<([^<>]*)>\s*(?:;.*)?", re.DOTALL)


def is_nobody(text: str) -> bool:
    """Tell whether a trimmed text stands for a withheld caller: by itself, in a URI, or in brackets behind a name."""
    folded = text.casefold().strip("\"' ")
    if not folded or folded in WORDS or folded.removeprefix("+") in NUMBERS:
        return True
    if "<" in folded and (inner := _INNER.fullmatch(folded)) and (one := inner[1].strip()):
        return is_nobody(one)
    if uri := _URI.fullmatch(folded):
        return uri["tel"] is None or is_nobody(uri["tel"])
    return (
        bool(_ZEROS.fullmatch(folded) or _NO_HOST.fullmatch(folded))
        or folded == "\\n"  # how databases write null into files
        or ("@" not in folded and re.sub(r"[\W_]", "", folded) in _ALONE)
    )
