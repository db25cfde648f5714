"""Contracts for who reads what Lethe writes, and for who writes what it reads: generated from the code, never by hand.

`python -m lethe.deploy.contracts docs/contracts` writes them: data contracts of the archive and the ledger (Open Data
Contract Standard 3.1) from the tables' schemas, and an AsyncAPI 3 document of the topics from the declared formats.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from lethe import __version__
from lethe.schemas.arrow import TABLES
from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.fields import FieldSpec
from lethe.schemas.declaration.format import Format
from lethe.schemas.declaration.vocabulary import CHANNELS, DIRECTIONS, STATUS_GROUPS

_MEANING: Final = {
    "metadata": {
        "stream": "Source of the record: a topic, or the name given to `lethe ingest`",
        "partition": "Partition of the topic",
        "offset": "Offset in the partition",
        "index": "Position inside a message that envelops several records; null where there is one",
        "event_time": "When the communication happened, UTC",
        "done_time": "When its status was reached, UTC",
        "sender": "Business sender; an end user's address is never here",
        "recipient": "Business recipient; an end user's address is never here",
        "country": "Country of the end user, ISO 3166 alpha-2",
        "duration_ms": "Duration of a call, milliseconds",
        "price": "What the vendor reports; what it is the price of stands in `charge_basis`",
        "currency": "Of `price` and `charge`, ISO 4217",
        "charge": "What the record costs in all: bills sum this",
        "redacted": "Columns the leak guard emptied in this row, comma-separated",
        "integrity_hash": "Salted SHA-256 of the original; null outside the integrity scope",
        "month": "Month of `event_time`, UTC, YYYY-MM; the table is partitioned by it",
    },
    "ledger": {
        "source": "Transaction id: cluster, topic id and partition",
        "first_offset": "First offset the commit covers",
        "last_offset": "Last offset the commit covers",
        "records": "Records taken in: split, late, rejected and tombstones",
        "rejected_by_reason": "JSON object: reason -> number of records",
        "version": "Version of the archive that the commit made",
        "gap": "Why offsets are missing, where an operator accepted that they are",
        "usage": "Of the split: records of usage data, of which the archive has no row",
        "data_files": "Data files of rows out of scope, by space: month:rows of any kind:SHA-256 in hexadecimal",
    },
}
_CONTENT: Final = {
    "json": "application/json",
    "csv": "text/csv",
    "form": "application/x-www-form-urlencoded",
    "combined": "text/plain",
    "lines": "text/plain",
}
_WORDS: Final = {"channel": CHANNELS, "direction": DIRECTIONS, "status_group": STATUS_GROUPS}
_KEYS: Final = {"metadata": ("stream", "partition", "offset", "index"), "ledger": ("source", "first_offset")}
_RULES: Final = {
    "metadata": {
        "A record stands in the archive once": "SELECT COUNT(*) FROM (SELECT 1 FROM archive "
        'GROUP BY "stream", "partition", "offset", "index" HAVING COUNT(*) > 1)',
        "A row lies in the month of its time": "SELECT COUNT(*) FROM archive "
        "WHERE strftime(\"event_time\" AT TIME ZONE 'UTC', '%Y-%m') <> \"month\"",
        "A price has a currency": 'SELECT COUNT(*) FROM archive WHERE "price" IS NOT NULL AND "currency" IS NULL',
    },
    "ledger": {
        "Every record is accounted for": "SELECT COUNT(*) FROM ledger "
        'WHERE "records" <> "split" + "late" + "rejected" + "tombstones"',
        "A commit covers offsets from first to last": "SELECT COUNT(*) FROM ledger "
        'WHERE "first_offset" > "last_offset"',
        "No commit begins where another one does": "SELECT COUNT(*) FROM (SELECT 1 FROM ledger "
        'GROUP BY "source", "first_offset" HAVING COUNT(*) > 1)',
    },
}
"""By table: what holds of its rows, and the query that counts those of which it does not."""
_ABOUT: Final = {
    "metadata": (
        "The archive: what was sent, when, by which way, with which result and price",
        "Billing and statistics. It names no end user, and nothing in it leads to one.",
        "Read it as a Delta table: a reader of plain Parquet files counts rows of files that were replaced a second "
        "time. Rows are not changed; which of them are not billed stands in `adjustments`. Kept for 10 years.",
    ),
    "ledger": (
        "The ledger: every offset that was read, accounted for",
        "Completeness of what the archive holds, by source and commit.",
        "Read it as a Delta table.",
    ),
}


def data_contract(table: str, path: str) -> dict[str, Any]:
    """Return the data contract of a table, as ODCS 3.1 has it; `path` is where its Parquet files are."""
    name = {"metadata": "archive"}.get(table, table)
    about, usage, limits = _ABOUT[table]
    rules = [
        {"name": said, "type": "sql", "query": query, "mustBe": 0, "dimension": "consistency"}
        for said, query in _RULES[table].items()
    ]
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": f"lethe-{name}",
        "name": f"Lethe {name}",
        "version": __version__,
        "status": "active",
        "description": {"purpose": usage, "usage": about, "limitations": limits},
        "servers": [{"server": "files", "type": "local", "path": path, "format": "parquet"}],
        "schema": [
            {
                "name": name,
                "physicalType": "table",
                "description": about,
                "properties": [_column(table, field) for field in TABLES[table]],
                "quality": rules,
            }
        ],
    }


def _column(table: str, field: pa.Field) -> dict[str, Any]:
    logical, physical = _types(field.type)
    meaning = _MEANING[table].get(field.name)
    keys = _KEYS[table]
    return {
        "name": field.name,
        **({"logicalType": logical} if logical else {}),
        "physicalType": physical,
        **({} if field.nullable else {"required": True}),
        **({"description": meaning} if meaning else {}),
        **({"partitioned": True, "partitionKeyPosition": 1} if field.name == "month" else {}),
        **({"tags": ["key"]} if field.name in keys else {}),
        **({"quality": [_known(field.name)]} if table == "metadata" and field.name in _WORDS else {}),
    }


def _known(column: str) -> dict[str, Any]:
    words = sorted(_WORDS[column])
    return {
        "name": f"{column} is one of the known words",
        "type": "library",
        "metric": "invalidValues",
        "arguments": {"validValues": words},
        "mustBe": 0,
    }


def _types(kind: pa.DataType) -> tuple[str | None, str]:
    """Return the standard's word for a type (none for bytes, which it has no word for) and DuckDB's."""
    if pa.types.is_decimal(kind):
        return "number", f"DECIMAL({kind.precision},{kind.scale})"
    for test, logical, physical in (
        (pa.types.is_string, "string", "VARCHAR"),
        (pa.types.is_int32, "integer", "INTEGER"),
        (pa.types.is_int64, "integer", "BIGINT"),
        (pa.types.is_boolean, "boolean", "BOOLEAN"),
        (pa.types.is_timestamp, "timestamp", "TIMESTAMP_TZ"),
    ):
        if test(kind):
            return logical, physical
    return None, "BLOB"


def async_api() -> dict[str, Any]:
    """Return the AsyncAPI 3 document of the topics a worker reads: a message for each format that comes with Lethe.

    What a format does not declare is dropped; what it declares as content is never kept.
    """
    declared = {name: found for name, found in sorted(formats.builtin().items()) if isinstance(found, Format)}
    messages = {
        _key(name): {
            "name": name,
            "title": name,
            "contentType": _CONTENT.get(found.encoding, "text/plain"),
            "payload": _payload(found),
        }
        for name, found in declared.items()
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Lethe: records it reads",
            "version": __version__,
            "description": "The topics of `sources`; each carries records of one format. Fields that are not "
            "declared may come and are dropped.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "records": {
                "address": "{topic}",
                "description": "A topic of `sources`",
                "parameters": {"topic": {"description": "as `sources` in lethe.toml names it"}},
                "messages": {key: {"$ref": f"#/components/messages/{key}"} for key in messages},
            }
        },
        "operations": {"read": {"action": "receive", "channel": {"$ref": "#/channels/records"}}},
        "components": {"messages": messages},
    }


def _key(name: str) -> str:
    return name.replace("/", ".")


def _payload(found: Format) -> dict[str, Any]:
    """Return the schema of a record; of what it is wrapped in, `unwrap`, `each` and `envelope` say where it lies."""
    root: dict[str, Any] = {}
    for spec in sorted(found.fields, key=lambda field: field.path):
        at = root
        for step in spec.path.split("."):
            name, bracket, _ = step.partition("[")
            at.setdefault("properties", {})
            at = at["properties"].setdefault(name, {})
            if bracket:
                at = at.setdefault("items", {})
        at.update(_property(spec))
    wrapped = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in (("unwrap", found.unwrap), ("each", found.each), ("envelope", found.envelope))
        if value
    }
    return {**root, **({"x-lethe-lies-in": wrapped} if wrapped else {})}


def _property(spec: FieldSpec) -> dict[str, Any]:
    """Say what a field is taken for: the type it is read as, and which part of a record it goes to."""
    kind = {"integer": "integer", "decimal": "number", "duration": "number", "boolean": "boolean"}.get(
        spec.type or "", "number"
    )
    return {
        "type": ["string", kind, "null"],  # a text is read as a number, a number as a text
        "x-lethe-class": spec.class_,
        **({"x-lethe-column": spec.column} if spec.column else {}),
        **({"x-lethe-role": spec.role} if spec.role else {}),
    }


def main(folder: str) -> None:
    """Write all contracts into a folder."""
    import yaml  # a reader of the documents has no need of it

    written = {
        "archive.odcs.yaml": data_contract("metadata", "warehouse/metadata/*/*.parquet"),
        "ledger.odcs.yaml": data_contract("ledger", "warehouse/ledger/*.parquet"),
        "records.asyncapi.yaml": async_api(),
    }
    for name, document in written.items():
        plain = json.loads(json.dumps(document))
        text = yaml.safe_dump(plain, sort_keys=False, width=120, allow_unicode=True)
        said = "# Generated by `make contracts`; a test keeps it in step with the code.\n"
        (Path(folder) / name).write_text(said + text)


if __name__ == "__main__":
    main(sys.argv[1])
