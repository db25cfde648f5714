"""How an address may be written inside a longer text of somebody else's: what to look for, in a text and in a column.

Strict where `lethe.tiers.window.mentions.mentions` is generous: what is found here is taken out of records of other
people. A word
that may be anything (`anonymous`, `1001`) is not looked for.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import phonenumbers

from lethe.schemas.subjects.addresses import Subject

_SEPARATORS = r"[\s().\-/\u2010-\u2015\u00a0]{0,3}"
_PLAIN_SEPARATORS = r"[\s().\-/\xa0]{0,3}"
_AT_ONCE = 50
"""Addresses in one pattern."""
_LEAST_DIGITS = 7  # shorter numbers, ids and names occur by chance
_LONG_DIGITS = 9
_LEAST_WORD = 8
ENCODED = r"\\[u/]|%[0-9a-fA-F]{2}|[\x00\x80-\xff]"
"""Bytes after which a text may say something else than its plain characters."""


@dataclass(frozen=True, slots=True)
class Spellings:
    """What to look for. `text` is for one that was read: percent-decoded, folded, in lower case and ASCII digits.
    `rough` finds at least as much in plain bytes, case left aside, and looks at nothing around it, so that any engine
    can run it over a column. Neither shows in `repr`. Of many addresses there are several of each: an engine that is
    given all at once becomes a hundred times slower.
    """

    text: tuple[re.Pattern[str], ...] = field(repr=False)
    rough: tuple[str, ...] = field(repr=False)

    def found_in(self, readings: Iterable[str]) -> bool:
        """Tell whether one of the texts holds one of the addresses."""
        return any(pattern.search(reading) for reading in readings for pattern in self.text)


def spellings(subjects: Iterable[Subject]) -> Spellings | None:
    """Return what to look for to find mentions of people; None if no address of theirs is distinct enough."""
    texts: list[re.Pattern[str]] = []
    roughs: list[str] = []
    every = list(subjects)
    for start in range(0, len(every), _AT_ONCE):
        found = [_of(subject) for subject in every[start : start + _AT_ONCE]]
        exact = set[str]().union(*(strict for strict, _ in found))
        rough = set[str]().union(*(plain for _, plain in found))
        texts += [re.compile("|".join(sorted(exact)))] if exact else []
        roughs += ["|".join(sorted(rough))] if rough else []
    return Spellings(tuple(texts), tuple(roughs)) if texts else None


def _of(subject: Subject) -> tuple[set[str], set[str]]:
    value = subject.value.lower()
    if subject.kind == "msisdn":
        return _number(subject.value)
    if subject.kind == "ip":
        return _address(value)
    if subject.kind == "email" or (subject.kind == "sip" and "@" in value):
        word = re.escape(value)
        return {rf"(?<![a-z0-9._%+\-]){word}(?![a-z0-9\-]|\.[a-z0-9])"}, {word}
    if subject.kind == "chat":
        value = value.partition(":")[2]
    digits = sum(c.isdigit() for c in value)
    if len(value) < _LEAST_WORD or digits < _LEAST_DIGITS:
        return set(), set()
    word = re.escape(value)
    return {rf"(?<![^\W_]){word}(?![^\W_])"}, {word} if value.isascii() else set()


def _number(value: str) -> tuple[set[str], set[str]]:
    """Return a phone number: international anywhere, national where no digit stands beside it."""
    if len(value) < _LEAST_DIGITS:
        return set(), set()
    international = _spaced(value)
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
    # Ten digits that begin with 1 are a time as often as a number: those are not taken for one without its trunk 0.
    if len(national) >= _LONG_DIGITS and not (len(national) == 10 and national.startswith("1")):
        exact.add(rf"(?<!\d)(?<!\d[\s.\-/]){_spaced(national)}(?!\d)")
    ending = min((n for n in (value, national, trunk) if n), key=len)
    ends_alike = all(n.endswith(ending) for n in (value, trunk) if n)
    plain = {_PLAIN_SEPARATORS.join(n) for n in ({ending} if ends_alike else {value, national, trunk} - {""})}
    return exact, plain


def _spaced(digits: str) -> str:
    return _SEPARATORS.join(digits)


def _address(value: str) -> tuple[set[str], set[str]]:
    """Return an IP address: as text, version 6 also in full, and as a decimal number."""
    try:
        known = ipaddress.ip_address(value)
    except ValueError:
        return set(), set()
    texts = {re.escape(t) for t in (known.compressed, known.exploded)}
    before, after = (
        (r"(?<![0-9.])", r"(?!\d|\.\d)") if known.version == 4 else (r"(?<![0-9a-f:])", r"(?![0-9a-f:])")
    )
    exact = {f"{before}{t}{after}" for t in texts}
    number = str(int(known))
    if len(number) >= _LEAST_DIGITS:
        texts, exact = texts | {number}, exact | {rf"(?<!\d){number}(?!\d)"}
    return exact, texts
