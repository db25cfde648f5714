"""Window fields as JSON: whatever the texts, what is read back is what went in, whoever the neighbours are."""

from __future__ import annotations

from unittest.mock import patch

import orjson
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from lethe.streams.transform import text_columns as texts
from lethe.streams.transform.split.window_fields import as_json, entries

TEXT = st.none() | st.text(st.characters(codec="utf-8"), max_size=30)
ROWS = st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=8)
NAMES = ("status.description", "callbackData", '=odd "name"')


def encoded(rows: list[tuple[str | None, ...]]) -> list[str | None]:
    frame = pl.DataFrame(rows, schema=dict.fromkeys(NAMES, pl.String), orient="row")
    return as_json(frame, NAMES).to_list()


@given(ROWS)
def test_what_went_in_comes_out(rows: list[tuple[str | None, ...]]) -> None:
    for row, text in zip(rows, encoded(rows), strict=True):
        expected = {name: value for name, value in zip(NAMES, row, strict=True) if value is not None}
        assert (orjson.loads(text) if text is not None else {}) == expected


@given(ROWS)
def test_neighbours_change_nothing(rows: list[tuple[str | None, ...]]) -> None:
    assert encoded(rows) == [encoded([row])[0] for row in rows]


@given(st.lists(st.tuples(TEXT, TEXT, TEXT, st.none() | st.binary(max_size=20)), min_size=1, max_size=8))
def test_compiled_code_writes_the_same(
    rows: list[tuple[str | None, str | None, str | None, bytes | None]],
) -> None:
    frame = pl.DataFrame([row[:3] for row in rows], schema=dict.fromkeys(NAMES, pl.String), orient="row")
    given_ = [row[3] for row in rows]
    made = entries(frame, NAMES, given_).to_pylist()
    with patch.object(texts, "_code", None):
        assert entries(frame, NAMES, given_).to_pylist() == made
