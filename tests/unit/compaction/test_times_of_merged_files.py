"""Times of a merged file are written in the way that takes fewer bytes, and read the same."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lethe.schemas.arrow import file_schema
from lethe.tiers.delta.files import encoding, smallest_times

ROWS = 40_000


def reports(late: bool) -> pa.Table:
    """Return archive rows in the order in which reports were done, one a millisecond; some are of days before."""
    chance = np.random.default_rng(5)
    done = 1_790_000_000_000 + np.arange(ROWS)
    took = (1_000 * (0.3 + chance.random(ROWS) ** 3 * 3.7)).astype(np.int64)
    took[::50] += 100_000_000 if late else 0
    times = {"event_time": done - (took if late else 0), "done_time": done}
    columns = {name: pa.array(values * 1_000, pa.timestamp("us", "UTC")) for name, values in times.items()}
    schema = file_schema("metadata")
    return pa.table({f.name: columns.get(f.name, pa.nulls(ROWS, f.type)) for f in schema})


def written(rows: pa.Table, times: dict[str, str] | None) -> bytes:
    sink = io.BytesIO()
    options = encoding("metadata", rows.schema, 16_384, read_in_places=True, times=times)
    pq.write_table(rows, sink, row_group_size=16_384, **options)
    return sink.getvalue()


def test_reports_that_come_late_take_a_sixth_less_than_as_differences() -> None:
    rows = reports(late=True)
    chosen = smallest_times(rows)
    assert chosen == {"event_time": "PLAIN", "done_time": "DELTA_BINARY_PACKED"}
    smaller = written(rows, chosen)
    assert len(smaller) < 0.84 * len(written(rows, None))
    assert smaller == written(rows, smallest_times(rows)), "the same rows are the same bytes"
    assert pq.read_table(io.BytesIO(smaller)).equals(pq.read_table(io.BytesIO(written(rows, None))))


def test_times_that_ascend_stay_differences() -> None:
    rows = reports(late=False)
    assert set(smallest_times(rows).values()) == {"DELTA_BINARY_PACKED"}
    assert written(rows, smallest_times(rows)) == written(rows, None)


def test_a_table_without_times_and_one_without_rows_choose_nothing() -> None:
    assert smallest_times(pa.table({"offset": [1, 2]})) == {}
    assert smallest_times(file_schema("metadata").empty_table()) == {}
