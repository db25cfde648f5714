"""A real warehouse on disk, made by ingesting generated traffic, and what a tamperer can do to it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cryptography.x509 import Certificate
from deltalake.transaction import AddAction, RemoveAction

from lethe.integrity.log.signing import Signer
from lethe.integrity.verify.findings import Finding
from lethe.operations.intake.ingest import ingest
from lethe.operations.proof.publisher import publication_of
from lethe.operations.proof.signer import load_signer
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Flush, Integrity, Settings
from lethe.schemas.arrow import file_schema
from lethe.schemas.declaration import format as formats
from lethe.schemas.position import Position
from lethe.streams.transform.batch import Batch, Source
from lethe.testing.traffic import generate
from lethe.tiers.delta.files import parquet_bytes
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.evidence.log_store import LogStore
from lethe.tiers.evidence.verification import Report, Verifier

UNTIL = datetime(2026, 11, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 23, tzinfo=UTC)
SMS = "infobip/sms-report"


@dataclass
class World:
    """An installation. `ahead` moves its clock."""

    home: Path
    integrity: Integrity = field(default_factory=Integrity)
    ahead: timedelta = timedelta()
    report: Report | None = None

    @property
    def runtime(self) -> Runtime:
        settings = Settings(
            root=str(self.home / "warehouse"), keys_dir=self.home / "keys", integrity=self.integrity,
            flush=Flush(records=100, batch=50), threads=1,
        )  # fmt: skip
        return Runtime(settings, clock=lambda: NOW + self.ahead)

    def take_in(self, name: str, count: int, seed: int, fmt: str = SMS, **shares: Any) -> str:
        """Ingest generated records; returns their stream."""
        file = self.home / name
        records = generate(fmt, count, seed, until=UNTIL, months=2, **{"pakistan": 0.4, **shares})
        file.write_bytes(b"".join(r + b"\n" for r in records if b"\n" not in r))
        found = ingest(self.runtime, str(file), fmt)
        assert found.log_error is None, found.log_error
        return found.stream

    def feed(
        self, stream: str, count: int, seed: int, publish: bool = True, months: int = 2, **shares: Any
    ) -> bytes:
        """Commit generated records behind what a topic has, as a worker does; returns the checkpoint after it."""
        runtime = self.runtime
        source = Source(stream, 0, f"cluster/{stream}/0", SMS)
        done = runtime.warehouse.position(source.id)
        first = 0 if done is None else done + 1
        values: list[bytes | None] = list(
            generate(SMS, count, seed, until=UNTIL, months=months, **{"pakistan": 0.4, **shares})
        )
        received = np.full(count, int(NOW.timestamp() * 1000), np.int64)
        batch = Batch(
            source,
            0,
            1,
            first,
            first + count - 1,
            np.arange(first, first + count, dtype=np.int64),
            values,
            received,
        )
        hashes = runtime.warehouse.commit([runtime.transform.process(batch, formats.get(SMS))], runtime.ring)
        if publish:
            publication = publication_of(runtime)
            publication.add(hashes)
            assert (stream, 0) not in publication.run().failures
        return self.store(stream).get("checkpoint") or b""

    def copy(self, to: Path) -> World:
        """The same, to be tampered with."""
        shutil.copytree(self.home, to, dirs_exist_ok=True)
        return World(to, self.integrity, self.ahead)

    @property
    def signer(self) -> Signer:
        signer = load_signer(self.home / "keys")
        assert signer is not None
        return signer

    def store(self, stream: str) -> LogStore:
        return LogStore.of(self.runtime.objects, stream, 0)

    def log_folder(self, stream: str) -> Path:
        return self.home / "warehouse" / "_log" / stream / "0"

    def verify(
        self, known: Sequence[bytes] = (), roots: Sequence[Certificate] = (), **asked: Any
    ) -> list[Finding]:
        """What `lethe verify` finds. Nothing is published first: an attack is to be found, not mended."""
        runtime = self.runtime
        verifier = Verifier(
            runtime.warehouse, self.signer.history, runtime.settings.retention, runtime.clock(), known=known,
            stamp_roots=roots, **asked,
        )  # fmt: skip
        found = list(verifier.run())
        self.report = verifier.report
        return found

    def publish(self) -> dict[Any, Any]:
        return dict(publication_of(self.runtime).run().failures)

    # -- tampering -----------------------------------------------------------------------------------------------

    def archive_files(self) -> list[Path]:
        """Files of the archive, in the order of the offsets they hold."""
        table = self.runtime.warehouse.metadata
        paths = [self.home / "warehouse" / "metadata" / f.path for f in files_of(table)]
        return sorted(
            paths, key=lambda p: (pq.read_table(p, columns=["offset"])["offset"][0].as_py(), str(p))
        )

    def scoped(self) -> list[tuple[Path, int, dict[str, Any]]]:
        """Every row in scope: its file, its place there, and the row."""
        found = []
        for path in self.archive_files():
            for number, row in enumerate(read(path).to_pylist()):
                if row["integrity_hash"] is not None:
                    found.append((path, number, row))
        return found


def read(path: Path) -> pa.Table:
    """The rows of an archive file."""
    return pq.read_table(io.BytesIO(path.read_bytes())).cast(file_schema("metadata"))


def write(path: Path, rows: pa.Table) -> None:
    """Put rows in the place of a file's, as whoever has the disk can."""
    path.write_bytes(parquet_bytes("metadata", rows.cast(file_schema("metadata"))))


def changed(rows: pa.Table, number: int, column: str, value: Any) -> pa.Table:
    """The rows with one value changed."""
    values = rows.column(column).to_pylist()
    values[number] = value
    at = rows.column_names.index(column)
    return rows.set_column(at, rows.schema.field(column), pa.array(values, rows.schema.field(column).type))


def without(rows: pa.Table, number: int) -> pa.Table:
    """The rows without one."""
    return pa.concat_tables([rows.slice(0, number), rows.slice(number + 1)])


def name(row: dict[str, Any]) -> str:
    """A row's record."""
    return str(Position(row["stream"], row["partition"], row["offset"], row["index"]))


def compact(
    world: World, order: Callable[[pa.Table], pa.Table] = lambda rows: rows, month: str = "2026-10"
) -> None:
    """Rewrite the files of a month into one, as compaction does: the data is said not to change."""
    runtime = world.runtime
    table = runtime.warehouse.metadata
    old = files_of(table, {"month": month})
    rows = pa.concat_tables([read(Path(table.url) / f.path) for f in old])
    data = parquet_bytes("metadata", order(rows))
    path = f"month={month}/compacted.parquet"
    runtime.objects.put(f"metadata/{path}", data)
    now = int(NOW.timestamp() * 1000)
    table.delta.create_write_transaction(
        [
            AddAction(path, len(data), {"month": month}, now, False, json.dumps({"numRecords": rows.num_rows})),
            *(RemoveAction(f.path, False, now, f.size, dict(f.partition)) for f in old),
        ],
        mode="append", schema=table.delta.schema(), partition_by=["month"],
    )  # fmt: skip
    for file in old:
        runtime.objects.delete(f"metadata/{file.path}")


def backwards(rows: pa.Table) -> pa.Table:
    """The rows in another order."""
    return rows.take(list(range(rows.num_rows))[::-1])
