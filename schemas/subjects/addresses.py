"""Addresses of parties, normalised to (kind, value): what a token is made from and what people type into a look-up.

| kind     | value                                                    |
|----------|----------------------------------------------------------|
| msisdn   | E.164 digits without `+`                                 |
| email    | the address in lower case                                |
| ip       | the compressed text form of RFC 5952                     |
| sip      | user@host of the URI in lower case, parameters dropped   |
| chat     | channel:id as the channel writes the id                  |
| opaque   | the text itself, trimmed: an address that fits no kind   |

A number is never given a region it does not carry: bare international digits with a default region turn into a
stranger's number.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import orjson

from lethe.schemas.subjects.nobody import is_nobody
from lethe.schemas.subjects.numbers import (
    as_written,
    bare_digits,
    behind_trunk,
    canonical_number,
    dialled,
    in_context,
    international,
    with_own_code,
)

MAX_LENGTH: Final = 1024
CHAT_CHANNELS: Final = frozenset(
    {"whatsapp", "viber", "rcs", "telegram", "messenger", "instagram", "line", "chat"}
)
NUMBERED: Final = frozenset(
    {"whatsapp", "viber", "rcs"}
)  # where bare digits are a phone number; elsewhere an id

EMAIL: Final = r"^[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?$"
HOST_WITH_PORT: Final = r"^([^:\[\]]+|\[[^\]]*\]):[0-9]{1,5}$"
"""The host is the first group."""
_NESTED: Final = 6  # schemes and brackets around one another
_SIP: Final = re.compile(r"sips?:(?:([^@?>]+)@)?([^;?>\s]+)(.*)", re.IGNORECASE | re.DOTALL)
_JID: Final = re.compile(  # of a device of somebody, too
    r"\+?([1-9][0-9]{6,14})(?:[.:][0-9]{1,5}){0,2}@(?:s\.whatsapp\.net|c\.us)", re.IGNORECASE
)
_PLMN: Final = re.compile(r"(\+?[0-9][0-9 ().-]{6,24})/TYPE=PLMN(?:@.*)?", re.IGNORECASE)  # 3GPP TS 23.140
NUMBERS_WITH_HOST: Final = ("@s.whatsapp.net", "@c.us", "/type=plmn")
"""Marks of what looks like an e-mail address and is a number."""
_SCHEMES: Final = frozenset(
    # and labels: of Twilio's clients, of numbers in CDRs, `urn:tel:`
    "sms smsto mms mmsto callto fax imessage client user phone mobile msisdn e164 e.164 urn".split()
)
_LABEL: Final = re.compile(  # of a number, in exports and logs, with something else behind it than a colon
    r"(?:msisdn|e\.?164|phone|mobile|cell|tel|gsm|number)[=\-/. :]{1,3}(\(?(?:\+|00)[0-9(].*|[1-9][0-9]{10,14})",
    re.IGNORECASE,
)
_TYPED: Final = re.compile(r"1([./:])1\1(?:\+|00)?([1-9][0-9]{6,14})", re.ASCII)
"""Type of number, numbering plan and number, as SMPP has them: an international one (1) of E.164 (1)."""
_CALLING: Final = re.compile(
    r"4:(\+[0-9]{7,15})"
)  # Azure Communication Services and Teams, of a telephone number
_MAIL_TYPE: Final = re.compile(  # RFC 3464; Exchange; a route of RFC 5321
    r"rfc822\s*;\s*|smtp\s*[:;]\s*|@[^@:\s]+:", re.IGNORECASE
)
_CHANNEL: Final = re.compile(r"(?:SIP|PJSIP|IAX2|Local)/([^/@\s]+)@[^@]*", re.IGNORECASE)  # of Asterisk
_GROUP: Final = re.compile(r"[^:\"<>@,;]{1,64}:([^;]*@.*);\s*", re.DOTALL)  # RFC 5322
_COMMENT: Final = re.compile(r"\s*\([^()@]*\)$")  # RFC 5322
_CONTEXT: Final = re.compile(r";phone-context=\+([0-9]{1,3})(?![0-9])", re.IGNORECASE)
_IN_BRACKETS: Final = re.compile(r"<([^<>]+)>\s*(?:;.*)?$")
_LOCAL: Final = re.compile(r"\"[^\"\\]{1,62}\"|[^\s@\"(),:;<>\[\]\\]{1,64}")
_DOMAIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?")
_WHOLE: Final = re.compile(r"-?[0-9]{1,10}", re.ASCII)
_AROUND_IP: Final = re.compile(
    r"(?:(?:udp|tcp|tls|dtls|wss?|sctp|sips?):|for=\"?)?([^\";]*?)(?:/[0-9]{1,3})?\"?(?:;.*)?", re.IGNORECASE
)
_PADDED: Final = re.compile(r"(?:[0-9]{3}\.){3}[0-9]{3}", re.ASCII)
_PORT: Final = re.compile(r"([0-9.]+):[0-9]{1,5}|\[([0-9a-fA-F:.]+)\]:[0-9]{1,5}", re.ASCII)
_LISTED: Final = (  # what stands between quotes is one piece; marks that are part of addresses separate the last
    re.compile(r"(?:\"(?:[^\"\\]|\\.)*\"|[^,;\n])+"), re.compile(r"[^|]+"), re.compile(r"[^<>]+(?!.*>)"),
)  # fmt: skip
_FEW_DIGITS: Final = 5  # of which there are more in an address than in a name
_MARKS: Final = "\"'`“”‘’«»()[]{}<>,; "
_QUOTED: Final = re.compile(r"^'([^']+)'$|^\"([^\"@]+)\"$")


@dataclass(frozen=True, slots=True)
class Subject:
    """A normalised address. `repr` and `str` never show the value."""

    kind: str
    value: str

    def __repr__(self) -> str:
        return f"Subject(kind={self.kind!r})"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Reading:
    """How the addresses of one field are to be read.

    `kind`: what the declaration says they are (`auto`: look). `dialled`: bare digits are what was dialled on a line, so
    national ones need its `country`; otherwise it is that of numbers that begin with a single 0. `prefixes`: what is
    dialled before a number and is no part of it. `little_endian`: of IP addresses written as one whole number.
    """

    kind: str = "auto"
    dialled: bool = False
    country: str | None = None
    prefixes: tuple[str, ...] = ()
    little_endian: bool = False


_UNSPECIFIED: Final = (Subject("ip", "0.0.0.0"), Subject("ip", "::"))  # noqa: S104  (no socket: nobody's address)


def normalise(text: str, kind: str = "auto", channel: str | None = None) -> Subject | None:
    """Normalise one address; `kind` is what the declaration says it is (`auto`: look), None for nobody.

    `channel` scopes chat ids: the same id on another channel is somebody else. Equal, row by row, to
    `normalise_column`.
    """
    return read(text, Reading(kind), channel)


def read(text: str, how: Reading, channel: str | None = None) -> Subject | None:
    """Normalise one address of a field that is read in a certain way; None for nobody."""
    text = cleaned(text)
    named = how.kind == "opaque" or (
        how.kind == "chat" and channel in CHAT_CHANNELS
    )  # any word may be a name there
    if not text or (not named and is_nobody(text)):
        return None
    if how.kind == "opaque":
        return Subject("opaque", text)
    if not text.isascii():  # digits of other scripts
        text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)
    if how.kind == "ip":
        address = _ip(text, how.little_endian) or Subject("opaque", text)
        return None if address in _UNSPECIFIED else address
    if how.kind == "chat":
        if channel in CHAT_CHANNELS and text.partition(":")[0].lower() not in CHAT_CHANNELS:
            return _on_channel(text, str(channel))
    elif how.dialled:
        return _dialled(text, how)
    found = _by_shape(as_written(text))
    if found.kind == "opaque" and how.country is not None and (number := behind_trunk(text, how.country)):
        return Subject("msisdn", number)
    return Subject("opaque", text) if how.kind in ("email", "msisdn") and found.kind != how.kind else found


def cleaned(text: str) -> str:
    """Return a text without what does not show: compatibility forms folded, invisible marks and outer space gone."""
    text = unicodedata.normalize("NFKC", text[:MAX_LENGTH])
    if not text.isascii():
        text = "".join(c for c in text if unicodedata.category(c) != "Cf" and not "\ufe00" <= c <= "\ufe0f")
    return text.replace("\0", "").strip()


def _dialled(text: str, how: Reading) -> Subject:
    """Read what was dialled, or shown, on a line: bare digits are a number only under the line's country."""
    text = as_written(text)
    if "%" in text:
        text = unquote(text).replace("\0", "").strip() or text
    if number := _on_line(text, how) or _on_line(_user(text), how):
        return Subject("msisdn", number)
    text = as_written(_without(how.prefixes, text))
    if digits := bare_digits(text):
        return Subject("opaque", digits)
    return _by_shape(text)


def _on_line(text: str, how: Reading) -> str | None:
    """Read a number on a line without what is dialled before it, unless the whole begins with the code of the country.

    On a line in Pakistan behind a 9, `903335550107` and `923335550107` are the same man.
    """
    rest = as_written(_without(how.prefixes, text))
    if rest == text:
        return dialled(text, how.country)
    whole = None if how.country is None else with_own_code(text, how.country)
    return whole or dialled(rest, how.country) or dialled(text, how.country)


def _without(prefixes: tuple[str, ...], text: str) -> str:
    for prefix in prefixes:
        if text.startswith(prefix) and len(text) > len(prefix):
            return text.removeprefix(prefix)
    return text


def _user(text: str) -> str:
    """Return who is named by a URI or behind a name, as far as it may be what was dialled; "" otherwise."""
    if match := _CHANNEL.fullmatch(text):
        return match[1]
    if match := _IN_BRACKETS.search(text):
        text = match[1].strip()
    elif ":" not in text:
        return ""
    scheme, colon, rest = text.partition(":")
    if not colon:
        return text
    if "phone-context=" in rest.lower() or scheme.lower() not in ("tel", "sip", "sips"):
        return ""
    user, at, _ = rest.partition("@")
    return user.split(";")[0].split(":")[0].strip() if at or scheme.lower() == "tel" else ""


def several(text: str, how: Reading) -> list[Subject]:
    """Read a text that may hold several addresses: a list with commas, semicolons, `|` or `<` (Plivo), or JSON.

    Of JSON it is a text, a list, or what a member `to`, `email` or `address` holds. Empty where it is none of these.
    """
    text = cleaned(text)
    if text.startswith(("{", "[")):
        try:
            return _all_of(_texts(orjson.loads(text)), how)
        except orjson.JSONDecodeError:
            return []
    if group := _GROUP.fullmatch(text):
        return _all_of(_LISTED[0].findall(group[1]), how)
    for pieces in _LISTED:
        parts = pieces.findall(text)
        if len(parts) > 1 and (found := _all_of(parts, how)):
            return found
    return []


def _all_of(parts: Iterable[str], how: Reading) -> list[Subject]:
    """Read the pieces of a list: none where one fits no kind, unless it begins a name with a comma in it."""
    known: list[Subject] = []
    begun = False
    for one in parts:
        subject = read(one, how) if one.strip() else None
        if subject is None:
            continue
        if subject.kind != "opaque" and (not begun or "<" in one):
            known.append(subject)
            begun = False
        elif begun or "@" in one or sum(map(str.isdigit, one)) >= _FEW_DIGITS:
            return []
        else:
            begun = True  # `Khan, Ayesha <ayesha@example.org>`
    return [] if begun else known


def _texts(node: Any, depth: int = 0) -> Iterator[str]:
    """Yield the texts where JSON has addresses."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, list) and depth < _NESTED:
        for one in node:
            yield from _texts(one, depth + 1)
    elif isinstance(node, dict) and depth < _NESTED:
        for name in ("to", "email", "address"):
            yield from _texts(node.get(name), depth + 1)


def _on_channel(text: str, channel: str, depth: int = 0) -> Subject:
    """Read somebody on a chat channel: by number where the channel goes by numbers, else by its own id or name."""
    if match := _JID.fullmatch(text):
        return Subject("msisdn", canonical_number(match[1]))
    if channel in NUMBERED or text.startswith(("+", "%2B", "%2b")):
        found = _by_shape(text, depth + 1)
        if found.kind == "msisdn":
            return found
    return Subject("chat", f"{channel}:{text.removeprefix('@') or text}")


def _by_shape(text: str, depth: int = 0) -> Subject:
    if depth > _NESTED:
        return Subject("opaque", text)
    for _ in range(3):  # percent-encoded, perhaps more than once on its way through several gateways
        decoded = unquote(text).replace("\0", "").strip() if "%" in text else text
        if not decoded or decoded == text:
            break
        text = decoded
    if match := _QUOTED.match(text):
        text = (match[1] or match[2]).strip() or text
    lowered = text.lower()
    scheme, colon, rest = lowered.partition(":")
    if match := _JID.fullmatch(text):
        return Subject("msisdn", canonical_number(match[1]))
    if number := international(text):
        return Subject("msisdn", number)
    if match := _TYPED.fullmatch(text):
        return Subject("msisdn", canonical_number(match[2]))
    if (match := _LABEL.fullmatch(text)) and (number := international(match[1].strip())):
        return Subject("msisdn", number)
    if match := _CALLING.fullmatch(text):
        return _by_shape(match[1], depth + 1)
    if (match := _PLMN.fullmatch(text)) and (number := international(match[1])):
        return Subject("msisdn", number)
    if (
        colon
        and scheme in _SCHEMES
        and (found := _by_shape(text.partition(":")[2].strip(), depth + 1)).kind != "opaque"
    ):
        return found
    if colon and scheme in ("tel", "mailto"):
        if scheme == "tel" and "phone-context=" in rest and not rest.lstrip().startswith("+"):
            # A local number: somebody else's in another place, unless the place is a whole country.
            number = _of_country(rest)
            return Subject("msisdn", number) if number else Subject("opaque", lowered)
        bare = rest.split(";")[0].split("?")[0].strip()
        return _by_shape(bare, depth + 1) if bare else Subject("opaque", text)
    if colon and scheme in CHAT_CHANNELS and (name := text[len(scheme) + 1 :].strip()):
        return _on_channel(name, scheme, depth)
    if (match := _IN_BRACKETS.search(text)) and match[1].strip(_MARKS):
        return _by_shape(match[1].strip(), depth + 1)
    if match := _SIP.match(text):
        return _sip(match[1], match[2].lower(), match[3].lower())
    return _email(text) or _ip(text) or _without_marks(text, depth) or Subject("opaque", text)


def _without_marks(text: str, depth: int) -> Subject | None:
    """Read a number between marks that an export or a paste left behind: half a pair of quotes, a bracket, a comma.

    A number alone: a name between marks is another name, and what is no whole number stays as it is written.
    """
    bare = _COMMENT.sub("", text).strip(_MARKS)
    if not bare or bare == text or not bare.startswith(("+", "00")):
        return None
    found = _by_shape(bare, depth + 1)
    return found if found.kind == "msisdn" else None


def _sip(user: str | None, host: str, parameters: str) -> Subject:
    """Read the parts of a SIP URI (RFC 3261): a number where the user is a whole one, else user and host.

    A port says how to reach somebody, not who it is.
    """
    host = re.sub(HOST_WITH_PORT, r"\1", host)
    if not user:
        return Subject("sip", host)
    bare = user.split(";")[0].split(":")[0].strip()
    local = "phone-context=" in user.lower() and not bare.startswith("+")
    number = _of_country(user) if local else None
    if bare.startswith("+"):
        number = international(bare)
    elif not local and ("user=phone" in parameters or bare.startswith("00")):
        number = dialled(bare, None)
    return Subject("msisdn", number) if number else Subject("sip", f"{bare.lower()}@{host}")


def _of_country(text: str) -> str | None:
    """Read a local number (RFC 3966) whose context is the code of a country; None for any other."""
    context = _CONTEXT.search(text)
    return None if context is None else in_context(text.split(";")[0].strip(), int(context[1]))


def _email(text: str) -> Subject | None:
    """Read an e-mail address (RFC 5321, RFC 6531): the domain in IDNA form, everything in lower case."""
    lowered = text.lower()
    if re.match(EMAIL, lowered):
        return Subject("email", lowered)
    if match := _MAIL_TYPE.match(text):
        text = text[match.end() :]
    text = _COMMENT.sub("", text)
    local, at, domain = text.rpartition("@")
    local, domain = local.strip().casefold(), domain.strip().rstrip(".").casefold()
    if not at or not domain or not _LOCAL.fullmatch(local):
        return None
    if domain.startswith("[") and domain.endswith("]"):
        address = _ip(domain[1:-1].removeprefix("ipv6:"))
        return Subject("email", f"{local}@[{address.value}]") if address else None
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    return Subject("email", f"{local}@{domain}") if _DOMAIN.fullmatch(domain) else None


def _ip(text: str, little_endian: bool | None = None) -> Subject | None:
    """Read an IP address: with a port, a zone or brackets, mapped from version 4, or (where declared) as one number."""
    text = text.strip(" ,;")
    if little_endian is not None and _WHOLE.fullmatch(text):
        number = int(text) % 2**32 if -(2**31) <= int(text) < 2**32 else -1
        if number < 0:
            return None
        return Subject(
            "ip", str(ipaddress.IPv4Address(number.to_bytes(4, "little" if little_endian else "big")))
        )
    if match := _AROUND_IP.fullmatch(text):
        text = match[1].strip()
    if match := _PORT.fullmatch(text):
        text = match[1] or match[2]
    if _PADDED.fullmatch(text):
        text = ".".join(str(int(part)) for part in text.split("."))
    try:
        known = ipaddress.ip_address(text.strip("[]").split("%")[0])
    except ValueError:
        return None
    return Subject("ip", str(getattr(known, "ipv4_mapped", None) or known))
