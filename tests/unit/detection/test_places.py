"""Codes by position: of months whose offsets have gaps, and of messages with several records."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from lethe.schemas.errors import InputError
from lethe.tiers.detection._places import Codes, Ends, bounds, footer_bounds, pages_of
from lethe.tiers.detection.month_rows import Coder


def batch(rows: list[tuple[str, int, int, int | None]]) -> pa.RecordBatch:
    columns: Any = list(zip(*rows, strict=True))
    return pa.record_batch(
        {
            "stream": pa.array(columns[0]).dictionary_encode(),
            "partition": pa.array(columns[1], pa.int32()),
            "offset": pa.array(columns[2], pa.int64()),
            "index": pa.array(columns[3], pa.int32()),
        }
    )


def ends(rows: pa.RecordBatch) -> dict[tuple[str, int], Ends]:
    return {(stream, partition): e for stream, partition, e in bounds(rows)}


@pytest.mark.parametrize("codes", [200, 60_000, 100_000])
def test_every_position_gives_its_own_code_back(codes: int) -> None:
    draw = random.Random(codes)
    rows: list[tuple[str, int, int, int | None]] = []
    for stream, partition in (("a", 0), ("a", 7), ("b", 2)):
        near = draw.sample(range(1000, 60_000), 3_000)
        late = [draw.randrange(10**9) for _ in range(50)]  # far behind the others of their month
        rows += [(stream, partition, offset, None) for offset in sorted({*near, *late})]
    rows += [("b", 5, offset, index) for offset in range(100) for index in range(offset % 4)]
    rows += [("b", 5, offset, None) for offset in range(100, 110)]
    draw.shuffle(rows)
    whole = batch(rows)
    given = np.array([draw.randint(1, codes) for _ in rows], np.uint32)
    held = Codes(ends(whole), len(rows))
    for start in range(0, len(rows), 1000):
        part = whole.slice(start, 1000)
        held.put(held.places(part, make=True), given[start : start + 1000])
    again = list(range(len(rows)))
    draw.shuffle(again)
    places = held.places(whole.take(pa.array(again)))
    assert len(set(places.tolist())) == len(rows)
    assert (held.get(places) == given[again]).all()
    said = ["/".join(str(x) for x in rows[at] if x is not None) for at in again]
    assert held.positions(places.tolist()) == said


def test_positions_of_no_record_have_no_code() -> None:
    known = batch([("a", 0, 10, None), ("a", 0, 90_000, None)])
    held = Codes(ends(known), 2)
    held.put(held.places(known, make=True), np.array([1, 2], np.uint32))
    sought = [("a", 0, 9), ("a", 0, 90_001), ("a", 0, 40_000), ("a", 1, 10), ("c", 0, 10)]
    others = batch([*((*position, None) for position in sought), ("a", 0, 10, 3)])
    assert held.get(held.places(others)).tolist() == [0] * 6


def test_offsets_that_span_too_much_are_told() -> None:
    with pytest.raises(InputError, match="span too much"):
        Codes({("a", 0): Ends(0, 1 << 50, 1)}, 2)


def test_rows_of_columns_are_numbered_and_named_again() -> None:
    draw = random.Random(3)
    kinds = (["x", "y", None], ["EUR", None], [True, False, None])
    rows = [tuple(draw.choice(values) for values in kinds) for _ in range(500)]
    coder = Coder(["account", "currency", "permanent_error"])
    codes = np.concatenate(
        [
            coder.codes(pa.RecordBatch.from_pydict(dict(zip(coder.columns, zip(*part, strict=True), strict=True))))  # type: ignore[arg-type]
            for part in (rows[:100], rows[100:])
        ]
    )  # fmt: skip
    table = coder.table({"account": pl.String, "currency": pl.String, "permanent_error": pl.Boolean}).rows()
    assert [table[code - 1] for code in codes] == rows
    assert len(table) == len(set(rows))


def fragments(folder: Path, rows: pa.RecordBatch, size: int) -> list[Any]:
    pq.write_table(pa.table(rows), folder / "rows.parquet", row_group_size=size)
    [file] = ds.dataset(folder / "rows.parquet").get_fragments()
    return list(file.split_by_row_group())


@pytest.mark.parametrize("several", [False, True])
def test_footers_say_where_topic_partitions_end_at_the_outside(tmp_path: Path, several: bool) -> None:
    draw = random.Random(several)
    rows: list[tuple[str, int, int, int | None]] = [
        ("a", draw.randrange(3, 9), draw.randrange(5_000, 90_000), draw.randrange(4) if several else None)
        for _ in range(2_000)
    ]
    for at, group in enumerate(fragments(tmp_path, batch(rows), 500)):
        exactly = ends(batch(rows[500 * at : 500 * at + 500]))
        said = {(stream, partition): e for stream, partition, e in footer_bounds(group) or []}
        assert said.keys() == {("a", p) for p in range(3, 9)} >= exactly.keys()
        for key, e in exactly.items():
            assert said[key].first <= e.first <= e.last <= said[key].last
            assert said[key].places == e.places == (5 if several else 1)
    assert pages_of([Ends(0, 4_095, 1), Ends(0, 8_191, 2)]) == 2 + 5


@pytest.mark.parametrize(
    "rows",
    [
        [("a", 0, 1, None), ("b", 0, 2, None)],  # of several streams
        [("a", 0, 1, None), ("a", 90_000, 2, None)],  # of partitions far apart
    ],
)
def test_row_groups_are_read_whose_footers_say_too_little(
    tmp_path: Path, rows: list[tuple[str, int, int, int | None]]
) -> None:
    [group] = fragments(tmp_path, batch(rows), 500)
    assert footer_bounds(group) is None


def test_a_footer_without_bounds_says_nothing(tmp_path: Path) -> None:
    pq.write_table(pa.table(batch([("a", 0, 1, None)])), tmp_path / "rows.parquet", write_statistics=False)
    [file] = ds.dataset(tmp_path / "rows.parquet").get_fragments()
    [group] = file.split_by_row_group()
    assert footer_bounds(group) is None
