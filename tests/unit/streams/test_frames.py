"""Frames by the column: the same as what Polars' own queries give."""

from __future__ import annotations

import numpy as np
import polars as pl
from polars.testing import assert_frame_equal

from lethe.streams.transform.frames import first_bytes, rows_at, to_arrow

TEXTS = ["[1]", "", "{", "ärger", None, "x", "a text that is too long to lie in its view", "[", "0"]


def test_rows_at_their_places() -> None:
    frame = pl.DataFrame({"text": TEXTS, "number": range(len(TEXTS))})
    for at in ([], [3], [8, 0, 0, 4], list(range(len(TEXTS)))):
        assert_frame_equal(rows_at(frame, np.array(at, np.int64)), frame[at])


def test_columns_as_arrow_has_them() -> None:
    frame = pl.DataFrame({"text": TEXTS, "number": range(len(TEXTS))})
    made = to_arrow(frame[2:], ["number"])
    assert made.keys() == {"number"}
    assert made["number"].to_pylist() == [*range(2, len(TEXTS))]


def test_first_bytes_of_any_column() -> None:
    whole = pl.Series(TEXTS)
    for text in (
        whole,
        whole[2:],
        whole[3:5],
        pl.concat([whole, whole[1:]]),
        whole[:0],
        pl.Series([None], dtype=pl.String),
    ):
        found = first_bytes(text).tolist()
        assert len(found) == len(text)
        for one, byte in zip(text.to_list(), found, strict=True):
            assert one is None or byte == (one.encode() or b"\0")[0]
