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
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

import phonenumbers
import polars as pl

MAX_LENGTH: Final = 1024
CHAT_CHANNELS: Final = frozenset({"whatsapp", "viber", "rcs", "telegram", "messenger", "instagram", "line", "chat"})

_E164: Final = r"^\+?([1-9][0-9]{6,14})$"
_EMAIL: Final = r"^[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?$"
_SIP: Final = re.compile(r"sips?:(?:([^@;?>\s]+)@)?([^;?>\s]+)", re.IGNORECASE)
_SEPARATED: Final = re.compile(r"(?:\+|00)[\d\s().\-/\u2010-\u2015\u00a0]+")


@dataclass(frozen=True, slots=True)
class Subject:
    """A normalised address. `repr` and `str` never show the value."""

    kind: str
    value: str

    def __repr__(self) -> str:
        return f"Subject(kind={self.kind!r})"

    __str__ = __repr__


def normalise(text: str, kind: str = "auto", channel: str = "chat") -> Subject | None:
    """Normalise one address; `kind` is what the declaration says it is (`auto`: look), None for nothing there.

    `channel` scopes chat ids. Equal, row by row, to `normalise_column`.
    """
    text = unicodedata.normalize("NFKC", text[:MAX_LENGTH]).replace("\0", "").strip()
    if not text:
        return None
    if kind == "chat":
        return _phone(text) or Subject("chat", f"{channel}:{text}")
    if kind == "opaque":
        return Subject("opaque", text)
    return _by_shape(text)


def _by_shape(text: str) -> Subject:
    lowered = text.lower()
    scheme, colon, rest = lowered.partition(":")
    if "%" in text and (decoded := unquote(text).strip()) and decoded != text and "%" not in decoded:
        return _by_shape(decoded)
    if (found := _phone(text)) or (found := _email(lowered)):
        return found
    if colon and scheme in ("tel", "mailto"):
        return _by_shape(rest.split(";")[0].split("?")[0].strip() or text)
    if colon and scheme in CHAT_CHANNELS and rest:
        return _phone(rest) or Subject("chat", f"{scheme}:{text[len(scheme) + 1 :].strip()}")
    if (match := re.search(r"<([^<>]+)>\s*(?:;.*)?$", text)) and match[1].strip():
        return _by_shape(match[1].strip())
    if match := _SIP.match(text):
        user, host = match[1], match[2].lower()
        if user and user.startswith("+") and (number := _phone(user)):
            return number
        return Subject("sip", f"{user.lower()}@{host}" if user else host)
    return _ip(text) or Subject("opaque", text)


def _phone(text: str) -> Subject | None:
    if match := re.match(_E164, text):
        return Subject("msisdn", match[1]) if match[1].isascii() else None
    if not _SEPARATED.fullmatch(text):
        return None
    digits = re.sub(r"\D", "", text)
    international = "+" + (digits[2:] if text.startswith("00") else digits)
    try:
        number = phonenumbers.parse(international, None)
    except phonenumbers.NumberParseException:
        return None
    value = f"{number.country_code}{phonenumbers.national_significant_number(number)}"
    return Subject("msisdn", value) if 7 <= len(value) <= 15 else None


def _email(lowered: str) -> Subject | None:
    return Subject("email", lowered) if re.match(_EMAIL, lowered) else None


def _ip(text: str) -> Subject | None:
    try:
        return Subject("ip", str(ipaddress.ip_address(text.strip("[]").split("%")[0])))
    except ValueError:
        return None


def normalise_column(values: pl.Series, kind: str = "auto", channel: str = "chat") -> pl.DataFrame:
    """Normalise a String column; returns columns `kind` and `value`, null where there is nothing.

    The common spellings (E.164 digits with or without `+`, lower-case e-mail addresses) stay columnar; only the
    distinct others go through `normalise` one by one.
    """
    text = pl.col("text")
    digits = text.str.extract(_E164)
    if kind == "opaque":
        digits = pl.lit(None, pl.String)
    frame = values.rename("text").to_frame()
    frame = frame.with_columns(value=digits)
    fast = frame.select(
        kind=pl.when(pl.col("value").is_not_null()).then(pl.lit("msisdn")),
        value="value",
    )
    rest = frame.filter(pl.col("value").is_null() & text.is_not_null()).get_column("text").unique()
    if rest.is_empty():
        return fast
    known = [normalise(one, kind, channel) for one in rest]
    table = pl.DataFrame(
        {
            "text": rest,
            "other_kind": pl.Series([s.kind if s else None for s in known], dtype=pl.String),
            "other_value": pl.Series([s.value if s else None for s in known], dtype=pl.String),
        }
    )
    joined = pl.concat([frame.select("text"), fast], how="horizontal").join(
        table, on="text", how="left", maintain_order="left"
    )
    return joined.select(
        kind=pl.coalesce("kind", "other_kind"),
        value=pl.coalesce("value", "other_value"),
    )


@dataclass(frozen=True, slots=True)
class BusinessAddress:
    """A business's own address: `kind` is short_code, number, alphanumeric or email."""

    kind: str
    address: str


def business_address(text: str) -> BusinessAddress | None:
    """Read a business's address; None if the text is no address that the archive may keep.

    The display name in front of an e-mail address is free text and is left out.
    """
    text = text.strip()
    if match := re.search(r"<([^<>]+)>$", text):
        text = match[1].strip()
    for kind, pattern in _BUSINESS.items():
        if re.fullmatch(pattern, text):
            return BusinessAddress(kind, text)
    return BusinessAddress("email", text.lower()) if len(text) <= 254 and re.match(_EMAIL, text.lower()) else None


_BUSINESS: Final = {
    "short_code": r"[0-9]{3,8}",
    "number": r"\+?[0-9]{9,15}",
    "alphanumeric": r"(?=.*[A-Za-z])[A-Za-z0-9 &_.+-]{1,11}",
}
