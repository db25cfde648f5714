"""How an address may be written inside a longer text of somebody else's: what to look for, in a text and in a column.

Strict where `lethe.tiers.window.mentions.mentions` is generous: what is found here is taken out of records of other
people. A word
that may be anything (`anonymous`, `1001`) is not looked for.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Final

import phonenumbers
import pyarrow as pa

from lethe.schemas.compute import pc
from lethe.schemas.subjects.addresses import Subject
from lethe.schemas.subjects.crowd import SEPARATORS, Crowd

_PLAIN_SEPARATORS = r"[\s().\-/\xa0]{0,3}"
_FEW: Final = 10
"""People who are looked for by one pattern. Up to ten a column is looked through faster by it; of fifty it takes five
times as long as by their digits and words, and a text twenty times (`bench.spellings`)."""
_LEAST_DIGITS = 7  # shorter numbers, ids and names occur by chance
_LONG_DIGITS = 9
_LEAST_WORD = 8
_ENCODED: Final = r"\\[u/]|%[0-9a-fA-F]{2}|[\x00\x80-\xff]"
"""Bytes after which a text may say something else than its plain characters."""


@dataclass(slots=True)
class _Spelt:
    """How one address is written. `exact`: patterns for a text that was read: percent-decoded, folded, in lower case,
    with ASCII digits. `rough`: patterns that find at least as much in plain bytes, case left aside, and look at nothing
    around it. One of the `digits` or `words` stands in whatever an exact pattern finds.
    """

    exact: set[str] = field(default_factory=set)
    rough: set[str] = field(default_factory=set)
    digits: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)


class Spellings:
    """What to look for. Nobody shows in `repr`. Few people are looked for by one pattern; of many, only those whose
    characters stand in a text: one pattern of all becomes a hundred times slower.
    """

    __slots__ = ("_compiled", "_crowd", "_rough", "_spelt")

    def __init__(self, spelt: list[_Spelt]) -> None:
        self._spelt = spelt
        few = len(spelt) <= _FEW
        every = set[str]().union(*(s.exact for s in spelt)) if few else set()
        self._compiled: dict[int, re.Pattern[str]] = {-1: _pattern(every)} if few else {}
        self._rough = "|".join(sorted(set[str]().union(*(s.rough for s in spelt)))) if few else ""
        self._crowd = None if few else Crowd([s.digits for s in spelt], [s.words for s in spelt])

    def found_in(self, readings: Iterable[str]) -> bool:
        """Tell whether one of the texts holds one of the addresses."""
        texts = dict.fromkeys(readings)
        return any(pattern.search(text) for text in texts for pattern in self._patterns(text))

    def suspects(self, values: pa.Array) -> Any:
        """Tell for each value of a column of bytes whether an address may stand in its plain characters."""
        if self._crowd is not None:
            return pa.array(self._crowd.suspects(values))
        if not self._rough:
            return pa.repeat(False, len(values))
        return pc.match_substring_regex(values, self._rough, ignore_case=True)

    def _patterns(self, text: str) -> Iterator[re.Pattern[str]]:
        for at in (-1,) if self._crowd is None else self._crowd.near(text):
            if at not in self._compiled:
                self._compiled[at] = _pattern(self._spelt[at].exact)
            yield self._compiled[at]


def _pattern(texts: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(sorted(texts)))


def suspects(values: pa.Array, sought: Iterable[Spellings]) -> Any:
    """Tell for each value of a column of bytes whether one of those sought may stand in it, however it is encoded."""
    named = (spellings.suspects(values) for spellings in sought)
    return reduce(pc.or_, named, pc.match_substring_regex(values, _ENCODED))


def spellings(subjects: Iterable[Subject]) -> Spellings | None:
    """Return what to look for to find mentions of people; None if no address of theirs is distinct enough."""
    found = [spelt for subject in subjects if (spelt := _of(subject)).exact]
    return Spellings(found) if found else None


def _of(subject: Subject) -> _Spelt:
    value = subject.value.lower()
    if subject.kind == "msisdn":
        return _number(subject.value)
    if subject.kind == "ip":
        return _address(value)
    if subject.kind == "email" or (subject.kind == "sip" and "@" in value):
        word = re.escape(value)
        return _Spelt({rf"(?<![a-z0-9._%+\-]){word}(?![a-z0-9\-]|\.[a-z0-9])"}, {word}, words={value})
    if subject.kind == "chat":
        value = value.partition(":")[2]
    digits = sum(c.isdigit() for c in value)
    if len(value) < _LEAST_WORD or digits < _LEAST_DIGITS:
        return _Spelt()
    word = re.escape(value)
    return _Spelt({rf"(?<![^\W_]){word}(?![^\W_])"}, {word} if value.isascii() else set(), words={value})


def _number(value: str) -> _Spelt:
    """Return a phone number: international anywhere, national where no digit stands beside it."""
    if len(value) < _LEAST_DIGITS:
        return _Spelt()
    international = _spaced(value)
    digits = {value}
    exact = {international if len(value) >= _LONG_DIGITS else rf"(?<!\d){international}(?!\d)"}
    national, trunk = value, ""
    try:
        number = phonenumbers.parse(f"+{value}", None)
    except phonenumbers.NumberParseException:
        pass  # no country has it, so there is no national form
    else:
        national = phonenumbers.national_significant_number(number)
        trunk = re.sub(r"\D", "", phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL))
    if trunk != national and len(trunk) >= _LONG_DIGITS:
        exact.add(rf"(?<!\d){_spaced(trunk)}(?!\d)")
        digits.add(trunk)
    # Ten digits that begin with 1 are a time as often as a number: those are not taken for one without its trunk 0.
    if len(national) >= _LONG_DIGITS and not (len(national) == 10 and national.startswith("1")):
        exact.add(rf"(?<!\d)(?<!\d[\s.\-/]){_spaced(national)}(?!\d)")
        digits.add(national)
    ending = min((n for n in (value, national, trunk) if n), key=len)
    ends_alike = all(n.endswith(ending) for n in (value, trunk) if n)
    plain = {_PLAIN_SEPARATORS.join(n) for n in ({ending} if ends_alike else {value, national, trunk} - {""})}
    return _Spelt(exact, plain, digits)


def _spaced(digits: str) -> str:
    return SEPARATORS.join(digits)


def _address(value: str) -> _Spelt:
    """Return an IP address: as text, version 6 also in full, and as a decimal number."""
    try:
        known = ipaddress.ip_address(value)
    except ValueError:
        return _Spelt()
    words = {known.compressed, known.exploded}
    texts = {re.escape(t) for t in words}
    before, after = (
        (r"(?<![0-9.])", r"(?!\d|\.\d)") if known.version == 4 else (r"(?<![0-9a-f:])", r"(?![0-9a-f:])")
    )
    exact = {f"{before}{t}{after}" for t in texts}
    number = str(int(known))
    if len(number) < _LEAST_DIGITS:
        return _Spelt(exact, texts, words=words)
    return _Spelt(exact | {rf"(?<!\d){number}(?!\d)"}, texts | {number}, {number}, words)
