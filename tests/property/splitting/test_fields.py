"""Window fields as JSON: whatever the texts, what is read back is what went in, whoever the neighbours are."""

from __future__ import annotations

import orjson
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from streams.fields import as_json

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
