"""Bloom filters as the Parquet library writes them, asked without it."""

from __future__ import annotations

import io
import random
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lethe.tiers.delta.bloom import Filters, hashes_of


def test_what_the_library_wrote_is_found_and_little_else() -> None:
    chance = random.Random(7)
    tokens = [chance.randbytes(16) for _ in range(4_000)]
    offsets = [chance.randrange(-(1 << 62), 1 << 62) for _ in range(4_000)]
    table = pa.table({"token": pa.array(tokens, pa.binary(16)), "offset": pa.array(offsets, pa.int64())})
    sink = io.BytesIO()
    options = {name: {"ndv": 4_000, "fpp": 0.01} for name in ("token", "offset")}
    pq.write_table(table, sink, bloom_filter_options=options, store_schema=False, row_group_size=1_000)
    data = memoryview(sink.getvalue())
    metadata = pq.ParquetFile(io.BytesIO(data)).metadata
    plain = [struct.pack("<q", offset) for offset in offsets]
    others = [chance.randbytes(16) for _ in range(1_000)], [chance.randbytes(8) for _ in range(1_000)]
    for at, (there, strange) in enumerate(zip((tokens, plain), others, strict=True)):
        columns = [metadata.row_group(number).column(at) for number in range(4)]
        places = [(c.bloom_filter_offset, c.bloom_filter_length) for c in columns]
        found, later = Filters(data, places), Filters(data[places[0][0] :], places, places[0][0])
        mine = np.arange(len(there)) // 1_000
        assert found.may_hold(hashes_of(there), mine).all()
        everywhere = np.repeat(hashes_of(strange), 4), np.tile(np.arange(4), len(strange))
        assert found.may_hold(*everywhere).sum() < 80
        assert (found.may_hold(*everywhere) == later.may_hold(*everywhere)).all()


def test_hashes_are_those_of_the_specification() -> None:
    """xxHash64, seed 0: vectors of the reference implementation (`xxhsum -H64`)."""
    assert hashes_of([b"abcdefgh", b"\0" * 8]).tolist() == [0x3AD351775B4634B7, 0x34C96ACDCADB1BBB]
    assert hashes_of([]).tolist() == []
