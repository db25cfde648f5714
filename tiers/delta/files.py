"""Rows become Parquet files: one per partition of a table, under paths derived from the offset ranges they hold."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from lethe.schemas.arrow import PARTITIONED_BY, file_schema
from lethe.schemas.compute import pc
from lethe.tiers.delta.log import DataFile
from lethe.tiers.store.objects import Objects

SORTED_BY: Final[dict[str, list[tuple[str, str]]]] = {
    "identifiers": [(name, "ascending") for name in ("token", "offset", "index", "role")],
}
DICTIONARY: Final[dict[str, list[str]]] = {
    "identifiers": ["stream", "role", "kind"],
    "originals": ["stream"],
    "quarantine": ["stream", "format", "reason", "detail", "form", "format_version", "release"],
    "usage": ["stream", "format"],
    "metadata": [
        "stream", "channel", "direction", "account", "application", "sender", "recipient", "source_kind",
        "destination_kind", "country", "mcc", "mnc", "network", "route", "parts", "status_group", "status", "error",
        "price", "currency", "price_unit", "redacted", "original_form", "format",
        "charge", "charge_basis", "ingested_at", "countries", "retention_rule",
    ],
    "ledger": ["stream"],
    "adjustments": ["stream", "reason"],
    "codes": ["column_name", "why"],
}  # fmt: skip
_DELTA: Final = (
    "partition",
    "offset",
    "index",
    "event_time",
    "done_time",
    "received_time",
    "duration_ms",
    "charged_duration_ms",
)
# Tokens, hashes and what is sealed: nothing repeats itself in them, and to find that out costs a quarter of encoding.
_RANDOM: Final = (
    "token",
    "message_token",
    "sealed",
    "page",
    "integrity_hash",
    "merkle_root",
    "rows_sha3_512",
    "mac",
    "out_of_scope_root",
)
_TIMES: Final = ("event_time", "done_time")
_TRIED: Final = 16_384
_ROW_GROUP: Final = {"identifiers": 65_536}
_BLOOM: Final[dict[str, tuple[str, ...]]] = {"identifiers": ("token", "message_token")}
_FALSE_POSITIVES: Final = 0.01


def range_name(ranges: Sequence[tuple[str, int, int]]) -> str:
    """Return a name for the offset ranges (source, first, last) a commit holds."""
    text = json.dumps(sorted(ranges))
    return sha256(text.encode()).hexdigest()[:16]


def by_partition(table: str, rows: pa.Table) -> Iterator[tuple[dict[str, Any], pa.Table]]:
    """Yield rows of each partition of a table, with the partition's values."""
    keys = PARTITIONED_BY[table]
    if not rows.num_rows:
        return
    first = {key: rows.column(key)[0].as_py() for key in keys}
    # Mostly there is one: to see that costs a third of a query for all there are.
    if all(pc.all(pc.equal(rows.column(key), first[key]), skip_nulls=False).as_py() for key in keys):
        yield first, rows
        return
    for values in rows.select(keys).group_by(keys).aggregate([]).to_pylist():
        mask = None
        for key in keys:
            same = pc.equal(rows.column(key), values[key])
            mask = same if mask is None else pc.and_(mask, same)
        yield values, rows.filter(mask)


def write_files(objects: Objects, table: str, rows: pa.Table, name: str, now_ms: int) -> list[DataFile]:
    """Write rows as files of a table, not yet committed to it. The same rows give the same paths and bytes."""
    parts = (
        by_partition(table, rows) if PARTITIONED_BY[table] else iter([({}, rows)] if rows.num_rows else [])
    )
    return [_write(objects, table, values, part, name, now_ms) for values, part in parts]


def _write(
    objects: Objects, table: str, values: dict[str, Any], rows: pa.Table, name: str, now_ms: int
) -> DataFile:
    schema = file_schema(table)
    rows = rows.select(schema.names).cast(schema)
    if order := SORTED_BY.get(table):
        rows = rows.take(by_token(rows, order))
    data = parquet_bytes(table, rows)
    folder = "".join(f"{key}={value}/" for key, value in values.items())
    # The digest of the bytes is in the name: writing again is the same file, and two writers that disagree (another
    # release, another clock) never overwrite each other.
    digest = sha256(data).hexdigest()
    path = f"{folder}{name}-{digest[:16]}.parquet"
    objects.put(f"{table}/{path}", data)
    partition = {key: str(value) for key, value in values.items()}
    return DataFile(path, len(data), partition, rows.num_rows, now_ms, only_rows(rows.num_rows), digest)


def only_rows(count: int) -> str:
    """Say what the table's log says of a file: how many rows it has, and nothing of any column.

    Where bounds are given of some columns, the library's datasets take those of the others to be empty, and a filter
    on them finds nothing. Readers have the bounds of row groups in the files themselves.
    """
    return json.dumps({"numRecords": count})


def by_token(rows: pa.Table, order: list[tuple[str, str]]) -> pa.Array:
    """Say where the rows belong in an order that begins with their tokens (binary(16), nulls last); uint64.

    Tokens are random: numbers of their first eight bytes sort them in a fifth of the time. Rows in which these are the
    same, mostly rows of one token, are put in order among themselves.
    """
    tokens = rows.column("token").combine_chunks()
    first = prefixes(tokens)
    found = np.argsort(first)
    ascending = first[found]
    same = ascending[1:] == ascending[:-1]
    if same.any():
        tied = np.zeros(len(found), np.bool_)
        tied[1:] |= same
        tied[:-1] |= same
        places = np.sort(found[tied])  # of equal rows the first one stays first
        some = rows.select([name for name, _ in order]).take(pa.array(places))
        found[tied] = places[pc.sort_indices(some, order)]  # by prefix, too: each run in its own place
    return pa.array(found, pa.uint64())


def prefixes(tokens: pa.FixedSizeBinaryArray) -> npt.NDArray[np.uint64]:
    """Return the first eight bytes of each token as a number; the greatest there is where there is no token."""
    start, count = tokens.offset, len(tokens)
    words = np.frombuffer(tokens.buffers()[1], ">u8", 2 * count, 16 * start) if count else np.empty(0, ">u8")
    numbers = words[::2].astype(np.uint64)
    if tokens.null_count:
        numbers[tokens.is_null().to_numpy(zero_copy_only=False)] = np.iinfo(np.uint64).max
    return numbers


def parquet_bytes(table: str, rows: pa.Table) -> bytes:
    """Encode rows (without partition columns) as one Parquet file."""
    sink = io.BytesIO()
    group = _ROW_GROUP.get(table, 1_048_576)
    pq.write_table(rows, sink, row_group_size=group, **encoding(table, rows.schema, rows.num_rows))
    return sink.getvalue()


def encoding(
    table: str,
    schema: pa.Schema,
    distinct: int,
    read_in_places: bool = False,
    times: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Choose how the columns of a table are encoded: the options of a Parquet writer.

    `distinct` tokens at most are expected in a row group. A file that is `read_in_places` has a page index and, of
    identifiers, a filter that leads from a record to its rows. `times` are encodings of columns of times that were
    found to be smaller than differences.
    """
    dictionary = DICTIONARY[table]
    encodings = {name: "DELTA_BINARY_PACKED" for name in schema.names if name in _DELTA} | dict(times or {})
    filtered = (*_BLOOM.get(table, ()), *(("offset",) if read_in_places and table in _BLOOM else ()))
    bloom = {name: {"ndv": max(1, distinct), "fpp": _FALSE_POSITIVES} for name in filtered}
    return {
        "version": "2.6",
        "data_page_version": "2.0",
        "compression": {n: "NONE" if n in _RANDOM else "zstd" for n in schema.names},
        "compression_level": {n: 3 for n in schema.names if n not in _RANDOM},
        "use_dictionary": dictionary,
        "column_encoding": {
            **encodings,
            # Booleans too: their run-length form is misread by readers that are in use.
            **{n: "PLAIN" for n in schema.names if n not in encodings and n not in dictionary},
        },
        # Of texts no range leaves anything out: they are in no order, and to find it costs a quarter of all encoding.
        "write_statistics": [f.name for f in schema if f.name == "stream" or not _is_text(f.type)],
        "write_page_index": bool(bloom) or read_in_places,
        "bloom_filter_options": bloom or None,
        "store_schema": False,
        # Amounts of 18 digits fit in eight bytes: read in a fourth of the time that sixteen bytes a value take.
        "store_decimal_as_integer": True,
    }  # fmt: skip


def smallest_times(rows: pa.Table) -> dict[str, str]:
    """Choose the smaller of two encodings for each column of times, as the first rows tell: {column: encoding}.

    Differences are smallest where times ascend. Where some reports come days after the others, one of them makes the
    differences of all beside it as wide: plain values, compressed, take a third less.
    """
    first = rows.slice(0, _TRIED)
    return {
        name: min(("DELTA_BINARY_PACKED", "PLAIN"), key=partial(_size_as, first.select([name])))
        for name in _TIMES
        if name in rows.column_names and first.num_rows
    }


def _size_as(column: pa.Table, kind: str) -> int:
    sink = io.BytesIO()
    pq.write_table(
        column, sink, compression="zstd", compression_level=3, use_dictionary=False, store_schema=False,
        column_encoding=dict.fromkeys(column.column_names, kind), data_page_version="2.0",
    )  # fmt: skip
    return sink.tell()


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_dictionary(kind))
