"""Addresses of businesses: what the archive may keep of them."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from lethe.schemas.declaration.vocabulary import PLATFORM_ID
from lethe.schemas.subjects.addresses import CHAT_CHANNELS, EMAIL, MAX_LENGTH
from lethe.schemas.subjects.numbers import international


@dataclass(frozen=True, slots=True)
class BusinessAddress:
    """A business's own address: `kind` is short_code, number, alphanumeric, email or chat (an id of a platform)."""

    kind: str
    address: str


@lru_cache(maxsize=1 << 14)
def business_address(text: str, longest: int = 11) -> BusinessAddress | None:
    """Read a business's address; None if the text is no address that the archive may keep.

    Numbers lose their `+`, spaces and channel prefix. `longest` bounds alphanumeric names and ids of platforms. The
    display name in front of an e-mail address is free text and is left out.
    """
    text = unicodedata.normalize("NFC", text[:MAX_LENGTH]).strip()
    if match := re.search(r"<([^<>]+)>$", text):
        text = match[1].strip()
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() in (*CHAT_CHANNELS, "tel"):
        text = rest.strip()
    if re.fullmatch(r"[0-9]{3,8}", text):
        return BusinessAddress("short_code", text)
    if text.startswith(("+", "00")) and (number := international(text)):
        return BusinessAddress("number", number)
    if re.fullmatch(r"[0-9]{9,15}", text):
        return BusinessAddress("number", text)
    lowered = text.lower()
    if len(text) <= 254 and re.match(EMAIL, lowered) and not _CARRIER.match(lowered):
        return BusinessAddress("email", lowered)
    if len(text) <= longest and _PLATFORM.fullmatch(text):
        return BusinessAddress("chat", text)
    few_digits = sum(c.isdigit() for c in text) <= _NAME_DIGITS
    if len(text) <= longest and few_digits and _NAME.fullmatch(text):
        return BusinessAddress("alphanumeric", text)
    return None


_PLATFORM: Final = re.compile(PLATFORM_ID)
# VERP, SRS and relays write the address of somebody else into the local part, whoever is in the row.
_CARRIER: Final = re.compile(
    r"[^@]*[^@=#%!](?:[=#%]|_at_)(?:[a-z0-9-]+\.)+[a-z]{2,}(?![a-z0-9-])[^@]*@|(?:[a-z0-9-]+\.)+[a-z]{2,}![^@]+@"
)
# A name has a letter in it, in any script, and too few digits for a phone number or an id to hide in; a handle has an
# @ before it.
_NAME: Final = re.compile(r"(?=.*[^\W\d_])@?[^\W_][\w &.+-]*")
_NAME_DIGITS: Final = 6
