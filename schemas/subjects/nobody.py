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
NUMBERS: Final = ("266696687", "7378742833", "2562533", "8656696", "8566696", "86282452253")
_ZEROS: Final = re.compile(r"[+]?0+|[-*.?x\s]+")
_NO_HOST: Final = re.compile(
    r"(?:sips?:)?(?:anonymous|restricted|unavailable|unknown)@(?:anonymous|unknown|unavailable)\.invalid(?:[;>].*)?",
)


def is_nobody(text: str) -> bool:
    """Tell whether a trimmed text stands for a withheld caller."""
    folded = text.casefold().strip("\"' ")
    return (
        not folded
        or folded in WORDS
        or folded.removeprefix("+") in NUMBERS
        or bool(_ZEROS.fullmatch(folded) or _NO_HOST.fullmatch(folded))
    )
