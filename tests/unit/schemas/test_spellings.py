"""An address in the middle of somebody else's text is found in every usual spelling, and nothing else is."""

from __future__ import annotations

import random
import re

import pyarrow as pa
import pytest

from lethe.schemas.subjects.addresses import Subject, normalise
from lethe.schemas.subjects.spellings import spellings, suspects
from lethe.tiers.window.mentions import readings

HER = "+923005550142"

MENTIONS = [
    ("+923005550142", "order-923005550142-7"),
    ("+923005550142", "call 0300 5550142 please"),
    ("+923005550142", "0300-555-0142"),
    ("+923005550142", "+92 (0)300 5550142"),
    ("+923005550142", "for 00923005550142"),
    ("+923005550142", "ref:3005550142"),
    ("+923005550142", "x%2B92%20300%205550142"),
    ("+923005550142", "%252B923005550142"),
    ("+923005550142", "tel:+92-300-555-0142;x=1"),
    ("+923005550142", "\\u002b92\\u0033005550142"),
    ("+923005550142", "رقم ٩٢٣٠٠٥٥٥٠١٤٢"),
    ("+923005550142", "+92\u2011300\u20115550142"),
    ("+4917655501421", "0176/55501421"),
    ("+14155550142", "(415) 555-0142"),
    ("+390655501421", "06 5550 1421"),
    ("jane@example.org", "550 5.1.1 <Jane@Example.ORG>"),
    ("jane@example.org", "mailto:jane%40example.org"),
    ("jane@example.org", "to jane@example.org."),
    ("203.0.113.5", "from 203.0.113.5:5060"),
    ("203.0.113.5", "ip=3405803781"),
    ("2001:db8::7", "at 2001:0db8:0000:0000:0000:0000:0000:0007"),
    ("2001:db8::7", "[2001:DB8::7]"),
    ("sip:kevin@pbx.example.com", "<sip:Kevin@pbx.example.com;tag=1>"),
    ("telegram:471100815", "chat 471100815"),
]
HONEST = [
    ("+923005550142", "817790313235066447"),
    ("+923005550142", "13005550142"),
    ("+923005550142", "+49 300 5550142"),
    ("+923005550142", "2026-03-00T05:55:01.42"),
    ("+923005550142", "92300555014"),
    ("+491761234567", "doneAt 1761234567"),
    ("jane@example.org", "mary.jane@example.org"),
    ("jane@example.org", "jane@example.organic"),
    ("203.0.113.5", "203.0.113.55"),
    ("203.0.113.5", "1203.0.113.5"),
    ("1001", "extension 1001"),
    ("someone", "someone"),
    ("telegram:471100815", "x471100815"),
]


def who(value: str) -> Subject:
    found = normalise(value)
    assert found is not None
    return found


@pytest.mark.parametrize(("value", "text"), MENTIONS)
def test_a_mention_is_found(value: str, text: str) -> None:
    sought = spellings([who(value)])
    assert sought is not None
    assert sought.found_in(readings(text.encode()))
    assert suspects(pa.array([text.encode()], pa.binary()), [sought]).to_pylist() == [True]


@pytest.mark.parametrize(("value", "text"), HONEST)
def test_what_only_looks_like_it_is_left_alone(value: str, text: str) -> None:
    sought = spellings([who(value)])
    assert sought is None or not sought.found_in(readings(text.encode()))


def test_whom_it_looks_for_does_not_show() -> None:
    sought = spellings([who(HER)])
    assert not re.search("3005550142", repr(sought))


CROWD = [f"+9233{n:08d}" for n in range(4_000_000, 4_000_100)] + [f"sip:u{n}@pbx.test" for n in range(50)]


@pytest.mark.parametrize(("value", "text"), MENTIONS)
def test_a_mention_is_found_among_many_people(value: str, text: str) -> None:
    sought = spellings([who(one) for one in [*CROWD, value]])
    assert sought is not None
    assert sought.found_in(readings(text.encode()))
    column = pa.array([b"x" * 9, text.encode(), b"", b"to jane, 12 of 34"], pa.binary())
    assert suspects(column, [sought]).to_pylist() == [False, True, False, False]
    assert suspects(column.slice(1, 2), [sought]).to_pylist() == [True, False]


@pytest.mark.parametrize(("value", "text"), HONEST)
def test_what_only_looks_like_one_of_many_is_left_alone(value: str, text: str) -> None:
    sought = spellings([who(one) for one in [*CROWD, value]])
    assert sought is not None
    assert not sought.found_in(readings(text.encode()))


@pytest.mark.parametrize("seed", range(4))
def test_many_are_found_where_each_alone_is(seed: int) -> None:
    draw = random.Random(seed)
    people = [who(value) for value in [*CROWD[:80], *CROWD[100:130], *(value for value, _ in MENTIONS)]]
    known = [*CROWD, *(value for value, _ in MENTIONS)]
    texts = [_text(draw, known) for _ in range(300)]
    alone = [one for subject in people if (one := spellings([subject])) is not None]
    together = spellings(people)
    assert together is not None
    expected = [any(one.found_in(readings(text)) for one in alone) for text in texts]
    assert [together.found_in(readings(text)) for text in texts] == expected
    assert 30 < sum(expected) < 270
    suspected = suspects(pa.array(texts, pa.binary()), [together]).to_pylist()
    assert [
        text for text, is_it, rough in zip(texts, expected, suspected, strict=True) if is_it and not rough
    ] == []
    assert sum(suspected) < 290


def _text(draw: random.Random, known: list[str]) -> bytes:
    """Make a text with an address that may be cut, spaced out, or run into what stands beside it."""
    value = draw.choice(known)
    if draw.random() < 0.4:
        value = value[: draw.randrange(4, len(value))]
    if draw.random() < 0.4:
        value = "".join(c + draw.choice(["", "", " ", "-", ". ", "(-)", "x"]) for c in value)
    beside = ["", " ", "x", "7", ".", "-", " 7", "7 ", "/"]
    return f"{draw.choice(['', 'call ', 'id='])}{draw.choice(beside)}{value}{draw.choice(beside)}".encode()
