"""Bloom filters as the Parquet library writes them, asked without it."""

from __future__ import annotations

import io
import random
import struct

import pyarrow as pa
import pyarrow.parquet as pq

from lethe.tiers.delta.bloom import Filters, hash_of


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
        for number, value in enumerate(there):
            assert found.may_hold(hash_of(value))[number // 1_000]
        assert sum(found.may_hold(hash_of(value)).sum() for value in strange) < 80
        assert (found.may_hold(hash_of(there[0])) == later.may_hold(hash_of(there[0]))).all()
