"""Somebody's address, in any spelling, anywhere in a record of any format, is in nothing stored in the clear."""

from __future__ import annotations

import logging
from random import Random

import pytest
from canaries import found_in, leaks_of, person, record
from hypothesis import given, settings
from hypothesis import strategies as st
from transform_kit import NOW, Kit, rows

from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Format
from lethe.streams.transform.split.leak_guard import digits, plain

KIT = Kit()
FORMATS = [f for f in formats.builtin().values() if isinstance(f, Format)]


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_no_canary_reaches_the_archive(
    fmt: Format, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    draw = Random(fmt.name)
    values = [
        record(fmt, person(draw), draw, planted) for planted in (0.0, 0.05, 0.2, 0.5) for _ in range(40)
    ]
    found = KIT.process(values, fmt)
    assert leaks_of(found) == []
    landed = [*rows(found.metadata), *rows(found.usage)]
    assert len(landed) >= 60, found.counts.reasons
    named = {(r["offset"], r["index"]) for r in rows(found.identifiers)}
    assert len(named) == len(landed)
    said = capfd.readouterr()
    assert not found_in(caplog.text + said.out + said.err)


@given(seed=st.integers(0, 2**63), planted=st.sampled_from([0.1, 0.3, 1.0]), which=st.sampled_from(FORMATS))
@settings(max_examples=60, deadline=None)
def test_no_canary_reaches_the_archive_whatever_is_drawn(seed: int, planted: float, which: Format) -> None:
    draw = Random(seed)
    assert leaks_of(KIT.process([record(which, person(draw), draw, planted) for _ in range(12)], which)) == []


def test_the_search_finds_every_spelling() -> None:
    """A search that finds nothing must be able to find something."""
    draw = Random(1)
    for _ in range(300):
        for spelling in person(draw).spellings:
            assert found_in(f"x{spelling}y"), spelling


def test_the_records_hold_what_is_searched_for() -> None:
    draw = Random(2)
    for fmt in FORMATS:
        value = record(fmt, person(draw), draw, 0.5).decode()
        assert "kanaria" in plain(value) or "739184" in digits(value)


def test_a_broken_guard_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    import lethe.streams.transform.split.split

    monkeypatch.setattr(lethe.streams.transform.split.split, "leaks", lambda *_: {})
    draw = Random(3)
    fmt = formats.get_format("infobip/sms-report")
    values = [record(fmt, person(draw), draw, 0.1) for _ in range(300)]
    assert "metadata.sender" in leaks_of(KIT.process(values, fmt))


assert NOW is not None
