"""The pinned Arrow types of every table. Later versions only add columns, at the end, nullable.

`month` (YYYY-MM, UTC, of the communication) and `window_months` (how long its identifiers are kept) are partition
columns: they are in the path of a file, not in the file.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")
MONEY = pa.decimal128(18, 6)
TOKEN = pa.binary(16)
HASH = pa.binary(32)

_POSITION = [
    pa.field("stream", pa.string(), nullable=False),
    pa.field("partition", pa.int32(), nullable=False),
    pa.field("offset", pa.int64(), nullable=False),
    pa.field("index", pa.int32()),
]
_MONTH = pa.field("month", pa.string(), nullable=False)
_WINDOW = pa.field("window_months", pa.int32(), nullable=False)

METADATA = pa.schema(
    [
        *_POSITION,
        pa.field("event_time", TIMESTAMP, nullable=False),
        pa.field("done_time", TIMESTAMP),
        pa.field("channel", pa.string(), nullable=False),
        pa.field("direction", pa.string(), nullable=False),
        pa.field("account", pa.string()),
        pa.field("application", pa.string()),
        pa.field("sender", pa.string()),  # business senders only
        pa.field(
            "recipient", pa.string()
        ),  # business recipients only: the short code an inbound message went to
        pa.field("source_kind", pa.string()),
        pa.field("destination_kind", pa.string()),
        pa.field("country", pa.string()),  # ISO 3166 alpha-2 of the end user
        pa.field("mcc", pa.string()),
        pa.field("mnc", pa.string()),
        pa.field("network", pa.string()),
        pa.field("route", pa.string()),
        pa.field("parts", pa.int32()),
        pa.field("duration_ms", pa.int64()),
        pa.field("status_group", pa.string()),
        pa.field("status", pa.string()),
        pa.field("error", pa.string()),
        pa.field("permanent_error", pa.bool_()),
        pa.field("price", MONEY),
        pa.field("currency", pa.string()),
        pa.field("price_unit", pa.string()),  # message, second or minute: what `price` is the price of
        pa.field("redacted", pa.string()),  # columns the leak guard emptied, comma-separated
        pa.field("integrity_hash", HASH),  # null outside the integrity scope
        pa.field("original_form", pa.string()),  # received or canonical: which bytes `integrity_hash` is of
        pa.field("format", pa.string(), nullable=False),
        pa.field("format_version", pa.int32(), nullable=False),
        pa.field("charge", MONEY),  # what the record costs in all, in `currency`
        pa.field(
            "charge_basis", pa.string()
        ),  # what `price` is the price of: lethe.schemas.declaration.charge
        pa.field("charged_duration_ms", pa.int64()),  # what the vendor charges of a call
        pa.field("late", pa.bool_()),  # the month's window had ended: no identifier was kept
        pa.field("ingested_at", TIMESTAMP),  # the minute in which the commit began
        pa.field(
            "countries", pa.string()
        ),  # all of the record, comma-separated, where `country` is not the only one
        pa.field("retention_rule", pa.string()),  # which rules gave it other periods than the default
        _MONTH,
    ]
)

IDENTIFIERS = pa.schema(
    [
        *_POSITION,
        pa.field("event_time", TIMESTAMP, nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("token", TOKEN),  # null when the record names no end user and only its message id is kept
        pa.field("sealed", pa.binary()),  # null when the token alone gives the value back
        pa.field("message_token", TOKEN),
        _MONTH,
        _WINDOW,
    ]
)

ORIGINALS = pa.schema(
    [
        pa.field("stream", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("first_offset", pa.int64(), nullable=False),
        pa.field("last_offset", pa.int64(), nullable=False),
        pa.field("records", pa.int32(), nullable=False),
        pa.field("page", pa.binary(), nullable=False),  # sealed, compressed: see keys/pages.py
        _MONTH,
        _WINDOW,
    ]
)

QUARANTINE = pa.schema(
    [
        *_POSITION,
        pa.field("received_time", TIMESTAMP),
        pa.field("format", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string()),  # a field's declared name or a limit; never a value
        pa.field("form", pa.string()),  # received, or stripped of content
        pa.field("sealed", pa.binary()),  # null for a tombstone and for a month whose window has ended
        _MONTH,
        _WINDOW,
        pa.field("format_version", pa.int32()),  # of the declaration it was rejected by
        pa.field("release", pa.string()),  # of the product that rejected it
    ]
)

USAGE = pa.schema(
    [
        *_POSITION,
        pa.field("event_time", TIMESTAMP, nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("format_version", pa.int32(), nullable=False),
        pa.field("sealed", pa.binary(), nullable=False),  # JSON: account, action, method, path, status
        _MONTH,
        _WINDOW,
    ]
)
"""One row per record of usage data: what was done. By whom and from where is in `identifiers`."""

LEDGER = pa.schema(
    [
        pa.field("stream", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("source", pa.string(), nullable=False),  # transaction id: cluster, topic id and partition
        pa.field("first_offset", pa.int64(), nullable=False),  # offsets covered, both ends included
        pa.field("last_offset", pa.int64(), nullable=False),
        pa.field("messages", pa.int64(), nullable=False),
        pa.field("records", pa.int64(), nullable=False),  # = split + late + rejected + tombstones
        pa.field("split", pa.int64(), nullable=False),
        pa.field("late", pa.int64(), nullable=False),
        pa.field("rejected", pa.int64(), nullable=False),
        pa.field("tombstones", pa.int64(), nullable=False),
        pa.field("rejected_by_reason", pa.string(), nullable=False),  # JSON object, keys sorted
        pa.field("redacted", pa.int64(), nullable=False),
        pa.field("content_dropped", pa.int64(), nullable=False),
        pa.field("identifiers", pa.int64(), nullable=False),
        pa.field("in_scope", pa.int64(), nullable=False),
        pa.field("merkle_root", HASH, nullable=False),
        pa.field("rows_sha3_512", pa.binary(64), nullable=False),
        pa.field("version", pa.int64(), nullable=False),  # of the metadata table: the commit that counts
        pa.field("committed_time", TIMESTAMP, nullable=False),
        pa.field("gap", pa.string()),  # why offsets are missing, when an operator accepted that they are
        pa.field(
            "mac", HASH
        ),  # of all but version and time, under the ledger key; none in rows of earlier releases
        pa.field("out_of_scope", pa.int64()),  # archive rows that are not in integrity scope
        pa.field("out_of_scope_root", HASH),  # root over them, in groups of 32
        pa.field(
            "declarations", pa.string()
        ),  # SHA-256 of what declared their formats, hexadecimal, by space
        pa.field("usage", pa.int64()),  # of the split: records of usage data, which no archive row is made of
        pa.field(
            "data_files", pa.string()
        ),  # of rows out of scope: month, rows in all and SHA-256 of each file written, by space
    ]
)

ADJUSTMENTS = pa.schema(
    [
        *_POSITION,
        pa.field("reason", pa.string(), nullable=False),  # superseded, repeated
        pa.field("found_time", TIMESTAMP, nullable=False),
        _MONTH,
    ]
)
"""Archive rows that are not to be billed: of several reports of one communication all but one."""

CODES = pa.schema(
    [
        pa.field("column_name", pa.string(), nullable=False),  # of the archive, such as route
        pa.field("stand_in", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("why", pa.string(), nullable=False),  # approved, shared
        pa.field("named_time", TIMESTAMP, nullable=False),
        _MONTH,
    ]
)
"""What stand-ins of codes stand for: of a month, a column and a stand-in one row at most."""

TABLES = {
    "identifiers": IDENTIFIERS,
    "originals": ORIGINALS,
    "quarantine": QUARANTINE,
    "usage": USAGE,
    "metadata": METADATA,
    "ledger": LEDGER,
    "adjustments": ADJUSTMENTS,
    "codes": CODES,
}
WINDOW_TABLES = ("identifiers", "originals", "quarantine", "usage")
PARTITIONED_BY = {
    "identifiers": ["month", "window_months"],
    "originals": ["month", "window_months"],
    "quarantine": ["month", "window_months"],
    "usage": ["month", "window_months"],
    "metadata": ["month"],
    "ledger": [],
    "adjustments": ["month"],
    "codes": ["month"],
}


ADDED: Final[dict[str, frozenset[str]]] = {
    "metadata": frozenset(
        "charge charge_basis charged_duration_ms late ingested_at countries retention_rule".split()
    ),
}
"""Columns that files of earlier releases lack."""


def complete(rows: pa.Table, table: str) -> pa.Table:
    """Give the rows of a file all columns of its table's files, in order and type; those of later releases are null.

    Raises `KeyError` where another column is missing, `pa.ArrowException` where a type does not fit.
    """
    schema = file_schema(table)
    columns = [
        pa.nulls(rows.num_rows, field.type)
        if field.name in ADDED.get(table, ()) and field.name not in rows.column_names
        else rows.column(field.name)
        for field in schema
    ]
    return pa.table(columns, names=schema.names).cast(schema)


def conformed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows with the columns of a schema, whoever wrote them; raises `ValueError` when a value is missing."""
    columns = []
    for field in schema:
        if field.name not in rows.column_names:
            column = pa.chunked_array([pa.nulls(rows.num_rows, field.type)])
        else:
            column = rows.column(field.name)
        if column.type != field.type:
            if pa.types.is_dictionary(field.type):
                column = column.cast(pa.string()).dictionary_encode()
            column = column.cast(field.type)
        if not field.nullable and column.null_count:
            raise ValueError(f"{field.name} lacks values")
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)


@cache
def file_schema(table: str) -> pa.Schema:
    """Return the columns of a table that are inside its files, in order: all but the partition columns."""
    partitions = PARTITIONED_BY[table]
    return pa.schema([f for f in TABLES[table] if f.name not in partitions])
