"""Whom a text names. Every face and every use case asks here, so that what is found can also be erased.

A text a person types says little about its kind: `US.ENT.118…` may be an id of WhatsApp, a name of a SIP account or a
text that fits no kind. So it stands for several addresses (kind, value), its candidates, and all of them are asked for.

One text is doubtful: bare digits, which are a phone number, may also be the id of a stranger on a chat channel. A
look-up and a hold take both (to see or to keep one too many does no harm that lasts); what is erased, exported or
restricted is the number alone, and an id on a channel has to name it: `telegram:15551234567`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from lethe.schemas.errors import InputError
from lethe.schemas.subjects.addresses import CHAT_CHANNELS, MAX_LENGTH, Subject, normalise
from lethe.schemas.subjects.equivalents import equivalents, typed

_LOOKS_LIKE_A_NUMBER: Final = re.compile(r"[\d\s().+\-/\u2010-\u2015\u00a0]+")
_PLUS_INSIDE: Final = re.compile(r"[\s(]*\+")
_ANY_KIND: Final = ("opaque", "chat")


@dataclass(frozen=True, slots=True)
class Person:
    """Everybody a text may name. `repr` shows neither the text nor an address."""

    text: str = field(repr=False)
    candidates: tuple[Subject, ...] = field(repr=False)
    subjects: tuple[Subject, ...] = field(repr=False)
    """The candidates without doubt: whose records are erased, exported and restricted."""

    @property
    def number(self) -> str | None:
        """Read the text as a phone number in E.164 digits; None if it is none."""
        return next((s.value for s in self.candidates if s.kind == "msisdn"), None)

    @property
    def unread_number(self) -> bool:
        """Tell whether the text looks like a phone number and cannot be read as one, for want of a country code."""
        known = any(s.kind not in _ANY_KIND for s in self.candidates)
        return not known and _LOOKS_LIKE_A_NUMBER.fullmatch(self.text) is not None


def identify(text: str, countries: Iterable[str] = ()) -> Person:
    """Read what a person typed or a request says: an address in any usual spelling, or an id of a channel or message.

    `countries`: those of the lines records come from, under which a number may be written nationally. Raises
    `InputError`, which repeats nothing of the text, when it is blank or has more than 1,024 characters.
    """
    text = text.strip()
    if not text or len(text) > MAX_LENGTH:
        raise InputError(f"a number, an address or an id of 1 to {MAX_LENGTH:,} characters is needed")
    read = _read(text)
    certain: list[Subject | None] = [read, Subject("opaque", text)]
    for country in (None, *countries):
        certain += typed(text, country=country)
        certain += equivalents(read, country) if read is not None else ()
    channels = [Subject("chat", f"{channel}:{text}") for channel in sorted(CHAT_CHANNELS) if ":" not in text]
    if read is None or read.kind in _ANY_KIND:
        certain += channels
    candidates = [*certain, *channels]
    return Person(text, _each_once(candidates), _each_once(certain))


def _read(text: str) -> Subject | None:
    """Normalise a text; `(+91) 97707-02010`, as people write it and no record does, is a number too."""
    found = normalise(text)
    if found is not None and found.kind != "opaque":
        return found
    if _LOOKS_LIKE_A_NUMBER.fullmatch(text) and _PLUS_INSIDE.match(text):
        number = normalise("+" + re.sub(r"\D", "", text))
        if number is not None and number.kind == "msisdn":
            return number
    return found


def _each_once(subjects: list[Subject | None]) -> tuple[Subject, ...]:
    return tuple(dict.fromkeys(s for s in subjects if s is not None))
