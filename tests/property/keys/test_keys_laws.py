"""Laws of tokens, sealed values and pages, for any text and any bytes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.keys.monthkeys import MonthKeys
from lethe.keys.pages import ENTRIES, decode_page, encode_page, open_page, seal_page
from lethe.keys.sealing import open_column, open_value, seal_column, seal_value
from lethe.keys.secret import Secret
from lethe.keys.tokens import (
    KIND_CODES,
    message_token,
    message_tokens,
    needs_sealing,
    reverse_message_tokens,
    reverse_tokens,
    subject_token,
    subject_tokens,
    tokens_each,
)
from lethe.schemas.errors import IntegrityError

LAW = settings(deadline=None)  # a busy machine is no counterexample
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NEAR = st.text("0123456789+@.ä\0", min_size=12, max_size=18)  # around the border of what fits a block
PLAIN = st.text(st.characters(max_codepoint=0x7F, min_codepoint=1), min_size=1, max_size=15)
VALUES = TEXT | NEAR | PLAIN
KINDS = st.sampled_from(sorted(KIND_CODES))
UUIDS = st.uuids().map(str)
HEXLIKE = st.text("0123456789abcdefABCDEF-", min_size=34, max_size=38)
IDS = TEXT | UUIDS | HEXLIKE | UUIDS.map(str.upper)
PARTS = st.text(max_size=6)
KEYS = st.binary(min_size=32, max_size=32).map(lambda secret: MonthKeys("2025-01.w12", Secret(secret)))
ONE = MonthKeys("2025-01.w12", Secret(bytes(32)))


@LAW
@given(KEYS, st.lists(st.tuples(KINDS, st.none() | VALUES)))
def test_a_column_of_subjects_is_its_single_tokens_and_goes_back(
    keys: MonthKeys, rows: list[tuple[str, str | None]]
) -> None:
    kinds = pl.Series([kind for kind, _ in rows], dtype=pl.String)
    values = pl.Series([value for _, value in rows], dtype=pl.String)
    tokens = subject_tokens(keys, kinds, values)
    assert tokens.to_pylist() == [None if v is None else subject_token(keys, k, v) for k, v in rows]
    there = [(k, v) for k, v in rows if v is not None]
    assert tokens_each(keys, there) == [subject_token(keys, k, v) for k, v in there]
    sealing = needs_sealing(values)
    assert reverse_tokens(keys, tokens) == [
        None if value is None or seal else (kind, value)
        for (kind, value), seal in zip(rows, sealing, strict=True)
    ]
    assert sealing.to_list() == [
        v is not None and not (1 <= len(v.encode()) <= 15 and "\0" not in v) for _, v in rows
    ]


@LAW
@given(st.tuples(KINDS, VALUES), st.tuples(KINDS, VALUES))
def test_subjects_have_the_same_token_exactly_when_they_are_the_same(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert (subject_token(ONE, *one) == subject_token(ONE, *other)) == (one == other)


@LAW
@given(KEYS, st.lists(st.none() | IDS))
def test_a_column_of_message_ids_is_its_single_tokens_and_uuids_go_back(
    keys: MonthKeys, ids: list[str | None]
) -> None:
    tokens = message_tokens(keys, pl.Series(ids, dtype=pl.String))
    assert tokens.to_pylist() == [None if i is None else message_token(keys, i) for i in ids]
    assert reverse_message_tokens(keys, tokens) == [i if i and is_plain_uuid(i) else None for i in ids]


def is_plain_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text and text[14] in "12345678"
    except ValueError:
        return False


@LAW
@given(IDS, IDS)
def test_message_ids_have_the_same_token_exactly_when_they_are_the_same(one: str, other: str) -> None:
    assert (message_token(ONE, one) == message_token(ONE, other)) == (one == other)


@LAW
@given(KEYS, PARTS, PARTS, PARTS, st.binary(max_size=300), st.data())
def test_a_sealed_value_opens_unchanged_in_its_place_and_in_no_other(
    keys: MonthKeys, table: str, column: str, position: str, value: bytes, data: Any
) -> None:
    sealed = seal_value(keys, table, column, position, value)
    assert open_value(keys, table, column, position, sealed) == value
    assert len(sealed) == len(value) + 17
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    changed = bytearray(sealed)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(IntegrityError):
        open_value(keys, table, column, position, bytes(changed))
    place = data.draw(st.tuples(PARTS, PARTS, PARTS).filter(lambda p: p != (table, column, position)))
    with pytest.raises(IntegrityError):
        open_value(keys, *place, sealed)
    secret = data.draw(st.binary(min_size=32, max_size=32))
    other = MonthKeys("2025-02.w12", Secret(secret))
    if other.sealing_key != keys.sealing_key:
        with pytest.raises(IntegrityError):
            open_value(other, table, column, position, sealed)


@LAW
@given(st.lists(st.tuples(PARTS, st.none() | st.binary(max_size=30))))
def test_a_sealed_column_is_its_single_values(rows: list[tuple[str, bytes | None]]) -> None:
    positions, values = [p for p, _ in rows], [v for _, v in rows]
    sealed = seal_column(ONE, "t", "c", positions, values).to_pylist()
    assert sealed == [None if v is None else seal_value(ONE, "t", "c", p, v) for p, v in rows]
    assert open_column(ONE, "t", "c", positions, sealed) == values


ENTRY = st.fixed_dictionaries(
    {
        "offset": st.integers(5, 9),
        "index": st.none() | st.integers(0, 2**31 - 1),
        "form": TEXT,
        "value": st.binary(max_size=50),
    }
)


@LAW
@given(st.lists(ENTRY, max_size=20), st.data())
def test_a_page_gives_its_entries_back_and_does_not_depend_on_how_they_came(
    rows: list[dict[str, Any]], data: Any
) -> None:
    table = pa.Table.from_pylist(rows, schema=ENTRIES)
    sealed = seal_page(ONE, "originals", "s", 0, 5, 9, table)
    assert open_page(ONE, "originals", "s", 0, 5, 9, sealed).to_pylist() == rows
    cut = data.draw(st.integers(0, len(rows)))
    more = data.draw(st.lists(ENTRY, max_size=5))
    longer = pa.Table.from_pylist([*more, *rows, *more], schema=ENTRIES)
    parts = [longer.slice(len(more), cut), longer.slice(len(more) + cut, len(rows) - cut)]
    assert seal_page(ONE, "originals", "s", 0, 5, 9, pa.concat_tables(parts)) == sealed


@LAW
@given(st.lists(ENTRY, max_size=5), st.data())
def test_a_damaged_page_is_refused_or_still_a_page(rows: list[dict[str, Any]], data: Any) -> None:
    """Without its seal a page has no integrity: what is asked is that decoding never fails otherwise."""
    page = bytearray(encode_page(pa.Table.from_pylist(rows, schema=ENTRIES)))
    at = data.draw(st.integers(0, len(page) - 1))
    page[at] ^= data.draw(st.integers(1, 255))
    with suppress(IntegrityError):
        assert decode_page(bytes(page)).schema.equals(ENTRIES)
