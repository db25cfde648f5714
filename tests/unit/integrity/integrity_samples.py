"""Archive rows, commits and published logs for the tests of integrity/, made from a seed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lethe.integrity.evidence.build import Original, build
from lethe.integrity.log.entries import Log, LogCommit
from lethe.integrity.log.publish import publish
from lethe.integrity.log.signing import Signer
from lethe.integrity.log.store import MemoryStore, log_origin
from lethe.integrity.rows.hashes import integrity_hash, salt
from lethe.integrity.verify.archive import verify_archive
from lethe.integrity.verify.findings import Finding
from lethe.integrity.verify.row_batch import Rows
from lethe.schemas.arrow import METADATA

STREAM, PARTITION, NAME = "sms-reports", 3, "lethe.example.com/cdr"
ORIGIN = log_origin(NAME, STREAM, PARTITION)
START = datetime(2026, 1, 20, 8, 30, 15, 123456, tzinfo=UTC)
NOW = 1_800_000_000
SALT_KEY = bytes(range(32))

Row = dict[str, Any]


def original(offset: int) -> bytes:
    """What the record at an offset looked like when it was received."""
    return b'{"to":"9230012%05d","from":"BANK","messageId":"m-%d"}' % (offset % 100_000, offset)


def row(offset: int, index: int | None = None, **changes: Any) -> Row:
    """One archive row in scope."""
    chance = random.Random(offset)
    values: Row = dict.fromkeys(METADATA.names)
    position = f"{STREAM}/{PARTITION}/{offset}" + ("" if index is None else f"/{index}")
    values |= {
        "stream": STREAM,
        "partition": PARTITION,
        "offset": offset,
        "index": index,
        "event_time": START + timedelta(seconds=offset),
        "done_time": START + timedelta(seconds=offset + 2, microseconds=offset),
        "channel": "sms",
        "direction": "outbound",
        "account": chance.choice(["acme", "globex", "initech"]),
        "sender": "BANK",
        "source_kind": "alphanumeric",
        "destination_kind": "msisdn",
        "country": "PK",
        "mcc": "410",
        "mnc": chance.choice(["01", "03", "04"]),
        "parts": 1 + offset % 3,
        "status_group": "delivered",
        "status": "DELIVERED_TO_HANDSET",
        "permanent_error": False,
        "price": Decimal(chance.randrange(100_000)).scaleb(-6),
        "currency": "EUR",
        "price_unit": "message",
        "integrity_hash": integrity_hash(salt(SALT_KEY, position), original(offset)),
        "original_form": "received",
        "format": "example-sms-report",
        "format_version": 1,
    }
    values |= changes
    values["month"] = f"{values['event_time']:%Y-%m}"
    return values


def rows(count: int, first: int = 0) -> list[Row]:
    """Rows at consecutive offsets."""
    return [row(offset) for offset in range(first, first + count)]


def table(values: Iterable[Row]) -> pa.Table:
    """Rows as a table of the archive."""
    return pa.Table.from_pylist(list(values), schema=METADATA)


DECLARATION = json.dumps(
    {
        "name": "example-sms-report",
        "version": 1,
        "field": [
            {"path": "to", "class": "subject", "role": "recipient", "end_user": "always"},
            {"path": "from", "class": "subject", "role": "sender", "end_user": "never"},
            {"path": "messageId", "class": "window", "message_id": True},
        ],
    },
    sort_keys=True,
    separators=(",", ":"),
).encode()
"""What declares the fields of an original, as it is logged."""


def commits(
    values: Sequence[Row],
    size: int,
    first_version: int = 0,
    whole: bool = False,
    declarations: Sequence[bytes] | None = (sha256(DECLARATION).digest(),),
) -> list[LogCommit]:
    """Rows as commits of `size` rows each, whose offset ranges touch; with leaf files of all hashes if `whole`.

    Entries are of version 1 if `declarations` are None.
    """
    made = []
    for at in range(0, len(values), size):
        part = values[at : at + size]
        offsets = part[0]["offset"], part[-1]["offset"]
        version = first_version + at // size
        made.append(LogCommit.of(table(part), STREAM, PARTITION, offsets, version, whole, declarations))
    return made


@dataclass
class Archive:
    """A published log and the rows it is of."""

    signer: Signer
    store: MemoryStore
    rows: list[Row]
    commits: list[LogCommit]

    @classmethod
    def of(
        cls,
        values: Sequence[Row],
        size: int = 5,
        signer: Signer | None = None,
        whole: bool = False,
        **options: Any,
    ) -> Archive:
        signer = signer or Signer.generate(NAME, NOW)
        store, made = MemoryStore(), commits(values, size, whole=whole, **options)
        publish(store, signer, STREAM, PARTITION, made, NOW)
        return cls(signer, store, list(values), made)

    @property
    def log(self) -> Log:
        return Log(self.store, self.signer.history, ORIGIN)

    def others(self, first: int, last: int) -> pa.Table:
        """The rows from one offset to another, as evidence asks for them."""
        return table(value for value in self.rows if first <= value["offset"] <= last)

    def evidence(self, row: pa.Table, original: Original | None = None, roots: Sequence[Any] = ()) -> bytes:
        """Evidence of a row, with what the archive has beside it."""
        return build(row, self.store, self.signer.history, ORIGIN, original, roots, self.others)

    def changed(self) -> list[Row]:
        """The rows, to be tampered with."""
        return copy.deepcopy(self.rows)

    def findings(self, values: Sequence[Row] | None = None, **options: Any) -> list[Finding]:
        """What verification says when the archive holds these rows."""
        return list(verify_archive(self.log, source(self.rows if values is None else values), **options))


def source(values: Sequence[Row], file: str | None = "part-1.parquet") -> Rows:
    """An archive of one file."""
    whole = table(values)

    def read(first: int, last: int | None) -> Iterable[tuple[str | None, pa.Table]]:
        kept = whole.filter(pc.greater_equal(whole["offset"], first))
        yield file, kept if last is None else kept.filter(pc.less_equal(kept["offset"], last))

    return read


def told(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """Kind and place of findings."""
    return [(str(finding.kind), finding.where) for finding in findings]


def name(offset: int) -> str:
    """The name of the record at an offset."""
    return f"{STREAM}/{PARTITION}/{offset}"
