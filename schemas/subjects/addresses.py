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
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import phonenumbers
import polars as pl

from lethe.schemas.flat import bytes_of, ends_of, large

MAX_LENGTH: Final = 1024
CHAT_CHANNELS: Final = frozenset(
    {"whatsapp", "viber", "rcs", "telegram", "messenger", "instagram", "line", "chat"}
)
_NUMBERED: Final = frozenset(
    {"whatsapp", "viber", "rcs"}
)  # where bare digits are a phone number; elsewhere an id

_E164: Final = r"^\+?([1-9][0-9]{6,14})$"
# A trunk 0 kept behind the country code, as in +92 0300 …; in a few countries it belongs to the number.
_TRUNK: Final = rf"^\+?(?:{'|'.join(str(c) for c in sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE))})0"
_FEWEST, _MOST = 7, 15  # digits of what `_E164` captures
_EMAIL: Final = r"^[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?$"
_NESTED: Final = 6  # schemes and brackets around one another
_SIP: Final = re.compile(r"sips?:(?:([^@;?>\s]+)@)?([^;?>\s]+)", re.IGNORECASE)
_JID: Final = re.compile(r"\+?([1-9][0-9]{6,14})@(?:s\.whatsapp\.net|c\.us)", re.IGNORECASE)
_JID_HOSTS: Final = ("@s.whatsapp.net", "@c.us")
_SEPARATED: Final = re.compile(r"(?:\+|00)[\d\s().\-/\u2010-\u2015\u00a0]+")


@dataclass(frozen=True, slots=True)
class Subject:
    """A normalised address. `repr` and `str` never show the value."""

    kind: str
    value: str

    def __repr__(self) -> str:
        return f"Subject(kind={self.kind!r})"

    __str__ = __repr__


def normalise(text: str, kind: str = "auto", channel: str | None = None) -> Subject | None:
    """Normalise one address; `kind` is what the declaration says it is (`auto`: look), None for nothing there.

    `channel` scopes chat ids: the same id on another channel is somebody else. Equal, row by row, to
    `normalise_column`.
    """
    text = unicodedata.normalize("NFKC", text[:MAX_LENGTH]).replace("\0", "").strip()
    if not text:
        return None
    if kind == "opaque":
        return Subject("opaque", text)
    if not text.isascii():  # digits of other scripts
        text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)
    if kind == "chat" and channel in CHAT_CHANNELS and text.partition(":")[0].lower() not in CHAT_CHANNELS:
        return _on_channel(text, str(channel))
    return _by_shape(text)


def _on_channel(text: str, channel: str, depth: int = 0) -> Subject:
    """Somebody on a chat channel: by number where the channel goes by numbers, else by the channel's own id or name."""
    if match := _JID.fullmatch(text):
        return Subject("msisdn", match[1])
    if channel in _NUMBERED or text.startswith(("+", "%2B", "%2b")):
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
    lowered = text.lower()
    scheme, colon, rest = lowered.partition(":")
    if match := _JID.fullmatch(text):
        return Subject("msisdn", match[1])
    if (found := _phone(text)) or (found := _email(lowered)):
        return found
    if colon and scheme in ("tel", "mailto"):
        bare = rest.split(";")[0].split("?")[0].strip()
        return _by_shape(bare, depth + 1) if bare else Subject("opaque", text)
    if colon and scheme in CHAT_CHANNELS and (name := text[len(scheme) + 1 :].strip()):
        return _on_channel(name, scheme, depth)
    if (match := re.search(r"<([^<>]+)>\s*(?:;.*)?$", text)) and (inner := match[1].strip()):
        return _by_shape(inner, depth + 1)
    if match := _SIP.match(text):
        user, host = match[1], match[2].lower()
        if user and user.startswith("+") and (number := _phone(user)):
            return number
        return Subject("sip", f"{user.lower()}@{host}" if user else host)
    return _ip(text) or Subject("opaque", text)


def _phone(text: str) -> Subject | None:
    whole = re.match(_E164, text)
    if whole and not re.match(_TRUNK, text):
        return Subject("msisdn", whole[1]) if whole[1].isascii() else None
    if not whole and not _SEPARATED.fullmatch(text):
        return None
    digits = re.sub(r"\D", "", text)
    international = "+" + (digits[2:] if text.startswith("00") else digits)
    try:
        number = phonenumbers.parse(international, None)
    except phonenumbers.NumberParseException:
        return Subject("msisdn", whole[1]) if whole else None
    value = f"{number.country_code}{phonenumbers.national_significant_number(number)}"
    return Subject("msisdn", value) if 7 <= len(value) <= 15 else None


def _email(lowered: str) -> Subject | None:
    return Subject("email", lowered) if re.match(_EMAIL, lowered) else None


def _ip(text: str) -> Subject | None:
    try:
        return Subject("ip", str(ipaddress.ip_address(text.strip("[]").split("%")[0])))
    except ValueError:
        return None


def normalise_column(
    values: pl.Series, kind: str = "auto", channel: str | pl.Series | None = None
) -> pl.DataFrame:
    """Normalise a String column; returns columns `kind` and `value`, null where there is nothing.

    `channel` is one for all rows, or a String column. The common spellings (E.164 digits with or without `+`, plain
    e-mail addresses) stay columnar; only the distinct others go through `normalise` one by one.
    """
    if kind not in ("opaque", "chat") and (numbers := _all_numbers(values)) is not None:
        return numbers
    text, scope = pl.col("text"), pl.col("channel")
    frame = (
        values.rename("text")
        .to_frame()
        .with_columns(
            channel.alias("channel")
            if isinstance(channel, pl.Series)
            else pl.lit(channel, pl.String).alias("channel")
        )
    )
    fast = pl.DataFrame(schema={"kind": pl.String, "value": pl.String}).clear(len(values))
    if kind != "opaque":
        by_number = (
            scope.is_in(list(CHAT_CHANNELS - _NUMBERED)).fill_null(False).not_()
            if kind == "chat"
            else pl.lit(True)
        )
        lowered = text.str.to_lowercase()
        plain = lowered.str.contains(_EMAIL) & ~text.str.contains_any(
            ["%", *_JID_HOSTS], ascii_case_insensitive=True
        )
        if kind == "chat":
            plain = plain & ~scope.is_in(list(CHAT_CHANNELS)).fill_null(False)
        number = pl.when(by_number | text.str.starts_with("+")).then(text.str.extract(_E164))
        number = pl.when(~text.str.contains(_TRUNK)).then(number)
        fast = frame.with_columns(number=number).with_columns(
            email=pl.when(pl.col("number").is_null() & plain).then(lowered)
        ).select(
            kind=pl.when(pl.col("number").is_not_null()).then(pl.lit("msisdn"))
            .when(pl.col("email").is_not_null()).then(pl.lit("email")),
            value=pl.coalesce("number", "email"),
        )  # fmt: skip
    rest = frame.filter(fast.get_column("value").is_null() & values.is_not_null()).unique()
    if rest.is_empty():
        return fast
    known = [normalise(one, kind, where) for one, where in rest.select("text", "channel").rows()]
    table = rest.with_columns(
        pl.Series("other_kind", [s.kind if s else None for s in known], dtype=pl.String),
        pl.Series("other_value", [s.value if s else None for s in known], dtype=pl.String),
    )
    joined = pl.concat([frame, fast], how="horizontal").join(
        table, on=["text", "channel"], how="left", nulls_equal=True, maintain_order="left"
    )
    return joined.select(kind=pl.coalesce("kind", "other_kind"), value=pl.coalesce("value", "other_value"))


def _all_numbers(values: pl.Series) -> pl.DataFrame | None:
    """Return the columns of a column that holds nothing but numbers in E.164, as most do; None of any other."""
    numbers = values
    if not _are_numbers(numbers):
        if not values.str.starts_with("+").any():
            return None
        numbers = values.str.strip_prefix("+")
        if not _are_numbers(numbers):
            return None
    kinds = pl.Series(["msisdn"]).new_from_index(0, len(values))
    if numbers.null_count():
        kinds = kinds.set(numbers.is_null(), None)
    return pl.DataFrame({"kind": kinds, "value": numbers})


def _beginnings() -> npt.NDArray[np.bool_]:
    """Return which four digits a number may begin with, 10,000: the longest country code has three."""
    may = np.arange(10_000) >= 1000
    for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        size = 10 ** (3 - len(str(code)))
        may[code * 10 * size : (code * 10 + 1) * size] = False
    return may


_BEGINNINGS: Final = _beginnings()


def _are_numbers(texts: pl.Series) -> bool:
    """Tell whether every text that is not null is what `_E164` captures, and does not begin as `_TRUNK` does.

    Told from all bytes at once, and the first four digits of each: patterns cost eight times as much.
    """
    array = large(texts.drop_nulls() if texts.null_count() else texts)
    if not len(array):
        return True
    ends = ends_of(array)
    lengths = np.diff(ends)
    if lengths.min() < _FEWEST or lengths.max() > _MOST:
        return False
    # What is below "0" wraps round, beyond 9.
    digits = bytes_of(array) - np.uint8(ord("0"))
    if (digits > 9).any():
        return False
    first = ends[:-1] - ends[0]
    beginning = sum(digits[first + place].astype(np.int64) * 10 ** (3 - place) for place in range(4))
    return bool(_BEGINNINGS[beginning].all())


@dataclass(frozen=True, slots=True)
class BusinessAddress:
    """A business's own address: `kind` is short_code, number, alphanumeric or email."""

    kind: str
    address: str


@lru_cache(maxsize=1 << 14)
def business_address(text: str, longest: int = 11) -> BusinessAddress | None:
    """Read a business's address; None if the text is no address that the archive may keep.

    Numbers lose their `+`, spaces and channel prefix. `longest` bounds alphanumeric names. The display name in front of
    an e-mail address is free text and is left out.
    """
    text = unicodedata.normalize("NFC", text[:MAX_LENGTH]).strip()
    if match := re.search(r"<([^<>]+)>$", text):
        text = match[1].strip()
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() in (*CHAT_CHANNELS, "tel"):
        text = rest.strip()
    if re.fullmatch(r"[0-9]{3,8}", text):
        return BusinessAddress("short_code", text)
    if re.fullmatch(r"[0-9]{9,15}", text):
        return BusinessAddress("number", text)
    if text.startswith(("+", "00")) and (number := _phone(text)):
        return BusinessAddress("number", number.value)
    lowered = text.lower()
    if len(text) <= 254 and re.match(_EMAIL, lowered):
        return BusinessAddress("email", lowered)
    few_digits = sum(c.isdigit() for c in text) <= _NAME_DIGITS
    if len(text) <= longest and few_digits and _NAME.fullmatch(text):
        return BusinessAddress("alphanumeric", text)
    return None


# A name has a letter in it, in any script, and too few digits for a phone number or an id to hide in.
_NAME: Final = re.compile(r"(?=.*[^\W\d_])[^\W_][\w &.+-]*")
_NAME_DIGITS: Final = 6
