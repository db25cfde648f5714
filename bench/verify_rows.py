"""What verification costs: `python -m bench.verify_rows [ROWS]`, on one core, best of several runs.

The target is at least 500,000 rows in scope a second and core, with leaf hashes, Merkle roots and the SHA3-512 digest,
and 1,500,000 out of scope, which may cost a commit 0.3 µs and 3 bytes each. The bare SHA-256 of the same rows, one
call each, is what cannot be saved. A table of results is in `verify_rows.md`.
"""

from __future__ import annotations

import os
import platform
import random
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha3_512, sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lethe.integrity.log import merkle
from lethe.integrity.log.commitment import commit_rows
from lethe.integrity.log.entries import Log, LogCommit
from lethe.integrity.log.leaves import commit_with_leaves
from lethe.integrity.log.outside import commit_outside
from lethe.integrity.log.publish import publish
from lethe.integrity.log.signing import Signer
from lethe.integrity.log.store import MemoryStore, log_origin
from lethe.integrity.rows.canonical_rows import encode_chunks
from lethe.integrity.rows.hashes import integrity_hashes
from lethe.integrity.verify.archive import verify_archive
from lethe.operations.proof.publisher import publication_of
from lethe.operations.proof.signer import signer_of
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.schemas.arrow import METADATA, file_schema
from lethe.schemas.transformed import Counts, TransformedBatch
from lethe.tiers.evidence.verification import Verifier

RUNS = 5
COMMIT = 5_000
PLACE = STREAM, PARTITION = "sms-reports", 3
STRINGS = [field.name for field in METADATA if pa.types.is_string(field.type) and field.name != "month"]


def archive(rows: int) -> pa.Table:
    """Delivery reports as the archive holds them: few different codes, some hundred accounts and senders."""
    r = random.Random(1)
    start = datetime(2026, 3, 1, tzinfo=UTC)
    times = [start + timedelta(milliseconds=n * 20, microseconds=r.randrange(1000)) for n in range(rows)]
    positions = [f"{STREAM}/{PARTITION}/{n}" for n in range(rows)]

    def codes(*values: str | None) -> list[str | None]:
        return r.choices(values, k=rows)

    columns: dict[str, object] = {
        "stream": [STREAM] * rows,
        "partition": [PARTITION] * rows,
        "offset": range(rows),
        "event_time": times,
        "done_time": [
            t + timedelta(milliseconds=r.randrange(9000)) if r.random() > 0.02 else None for t in times
        ],
        "channel": codes("sms"),
        "direction": codes("outbound"),
        "account": codes(*(f"account-{n:04d}" for n in range(300))),
        "application": codes(*(f"app-{n}" for n in range(40)), None),
        "sender": codes(*(f"Sender{n}" for n in range(400))),
        "source_kind": codes("alphanumeric", "short_code"),
        "destination_kind": codes("msisdn"),
        "country": codes("PK"),
        "mcc": codes("410"),
        "mnc": codes("01", "03", "04", "06", "07"),
        "network": codes("Jazz", "Zong", "Telenor", "Ufone"),
        "route": codes(*(f"r-{n}" for n in range(40)), None),
        "parts": r.choices((1, 1, 1, 2, 3), k=rows),
        "status_group": codes("delivered", "delivered", "undeliverable", "rejected"),
        "status": codes("DELIVERED_TO_HANDSET", "UNDELIVERABLE_NOT_DELIVERED", "REJECTED_NETWORK"),
        "error": codes("NO_ERROR", "EC_ABSENT_SUBSCRIBER", None),
        "permanent_error": r.choices((True, False, False), k=rows),
        "price": [Decimal(n).scaleb(-6) for n in r.choices(range(1_000, 30_000, 50), k=rows)],
        "currency": codes("EUR", "USD"),
        "price_unit": codes("message"),
        "integrity_hash": integrity_hashes(bytes(32), positions, [p.encode() for p in positions]),
        "original_form": codes("received", "canonical"),
        "format": codes("infobip.sms.report"),
        "format_version": [1] * rows,
    }
    schema = file_schema("metadata")
    nothing = [None] * rows
    return pa.table([pa.array(columns.get(f.name, nothing), f.type) for f in schema], schema=schema)


def published(table: pa.Table, declarations: Sequence[bytes] | None = None) -> Log:
    """A log of commits of `COMMIT` rows."""
    signer, store = Signer.generate("lethe.example.com/bench", 0), MemoryStore()
    commits = [
        LogCommit.of(
            table.slice(n, COMMIT), *PLACE, (n, min(n + COMMIT, len(table)) - 1), n, False, declarations
        )
        for n in range(0, len(table), COMMIT)
    ]
    publish(store, signer, STREAM, PARTITION, commits, 0)
    return Log(store, signer.history, log_origin(signer.name, STREAM, PARTITION))


def between(table: pa.Table, first: int, last: int | None) -> pa.Table:
    """The rows of an offset range, of a table in the order of its offsets."""
    low = pc.sum(pc.less(table["offset"], first)).as_py() or 0
    high = len(table) if last is None else pc.sum(pc.less_equal(table["offset"], last)).as_py() or 0
    return table.slice(low, high - low)


def from_file(file: pq.ParquetFile) -> Callable[[int, int | None], Iterator[tuple[str | None, pa.Table]]]:
    """Rows of a Parquet file whose row groups are in the order of their offsets."""
    column = file.schema_arrow.names.index("offset")
    bounds = [file.metadata.row_group(n).column(column).statistics for n in range(file.num_row_groups)]

    def rows(first: int, last: int | None) -> Iterator[tuple[str | None, pa.Table]]:
        groups = [n for n, b in enumerate(bounds) if b.max >= first and (last is None or b.min <= last)]
        if groups:
            yield "part-0.parquet", between(file.read_row_groups(groups, use_threads=False), first, last)

    return rows


def main(count: int) -> None:
    """Print the table of results."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    table = archive(count)
    encoded = list(encode_chunks(table))
    forms = [chunk[n] for chunk in encoded for n in range(len(chunk))]
    leaves = [leaf for chunk in encoded for leaf in chunk.leaf_hashes()]
    log = published(table)
    size = sum(map(len, forms)) / count

    print(f"Python {platform.python_version()}, pyarrow {pa.__version__}, {ssl.OPENSSL_VERSION}")
    print(f"{count:,} rows of {size:.0f} canonical bytes, commits of {COMMIT:,} rows, one core\n")
    print(f"| {'':<58} | {'rows/s':>9} | {'µs each':>7} | {'of bare':>7} |")
    print(f"|{'-' * 60}|{'-' * 11}|{'-' * 9}|{'-' * 9}|")
    bare = 0.0

    def measure(name: str, action: Callable[[], object]) -> None:
        nonlocal bare
        best = min(timed(action) for _ in range(RUNS)) / count
        bare = bare or best
        print(f"| {name:<58} | {1 / best:>9,.0f} | {best * 1e6:>7.3f} | {bare / best:>7.2f} |", flush=True)

    measure("bare SHA-256 of each canonical row", lambda: [sha256(form).digest() for form in forms])
    measure("canonical form", lambda: list(encode_chunks(table)))
    measure("leaf hashes", lambda: [chunk.leaf_hashes() for chunk in encoded])
    measure("SHA3-512 of all rows", lambda: [sha3_512(chunk.data).digest() for chunk in encoded])
    measure("Merkle root", lambda: merkle.root(leaves))
    measure("commitment (all of these)", lambda: commit_rows(table))
    measure("commitment and leaf file", lambda: commit_with_leaves(table, 0))

    def in_memory(first: int, last: int | None) -> Iterable[tuple[str | None, pa.Table]]:
        return [(None, between(table, first, last))]

    measure("verification, rows in memory", lambda: verified(log, in_memory))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part-0.parquet"
        pq.write_table(table, path, compression="zstd", row_group_size=100_000)
        plain = from_file(pq.ParquetFile(path))
        measure("verification, rows from Parquet", lambda: verified(log, plain))
        coded = from_file(pq.ParquetFile(path, read_dictionary=STRINGS))
        measure("verification, rows from Parquet, dictionaries kept", lambda: verified(log, coded))
        runtime = warehouse(Path(folder), table)
        measure("`lethe verify`, all of it", lambda: verified_whole(runtime, count))
        outside = without_scope(table)
        (made,) = commit_outside([(outside, 0)])
        measure("out of scope: commitment and file", lambda: commit_outside([(outside, 0)]))
        log = published(outside, [])
        pq.write_table(outside, Path(folder) / "part-1.parquet", compression="zstd", row_group_size=100_000)
        others = from_file(pq.ParquetFile(Path(folder) / "part-1.parquet", read_dictionary=STRINGS))
        measure("out of scope: verification, rows from Parquet", lambda: verified(log, others))
        whole = warehouse(Path(folder) / "outside", outside)
        measure("out of scope: `lethe verify`, all of it", lambda: verified_whole(whole, count))
        measure("out of scope: `lethe verify --every-row`", lambda: verified_whole(whole, count, True))
        print(f"\nThe file of rows out of scope is {len(made.file) / count:.2f} bytes a row.")


def without_scope(table: pa.Table) -> pa.Table:
    """The same rows, out of scope."""
    for name in ("integrity_hash", "original_form"):
        at = table.column_names.index(name)
        table = table.set_column(
            at, table.schema.field(at), pa.nulls(len(table), table.schema.field(at).type)
        )
    return table


def verified(log: Log, rows: Callable[[int, int | None], Iterable[tuple[str | None, pa.Table]]]) -> None:
    """Verify, and stop if anything is found: a benchmark of failures would be of no use."""
    if findings := list(verify_archive(log, rows)):
        raise SystemExit(str(findings[0]))


def warehouse(folder: Path, table: pa.Table) -> Runtime:
    """A warehouse on disk with the rows in it, in commits of `COMMIT` rows, and its published log."""
    runtime = Runtime(Settings(root=str(folder / "warehouse"), keys_dir=folder / "keys"))
    month = pa.repeat(pa.scalar("2026-03"), len(table))
    rows = table.append_column(METADATA.field("month"), month).select(METADATA.names).cast(METADATA)
    hashes = []
    for first in range(0, len(rows), COMMIT):
        part = rows.slice(first, COMMIT)
        counts = Counts(messages=len(part), records=len(part), split=len(part), in_scope=len(part))
        source = f"bench/{STREAM}/{PARTITION}"
        batch = TransformedBatch(
            STREAM, PARTITION, source, first, first + len(part) - 1, counts, metadata=part
        )
        hashes += runtime.warehouse.commit([batch], runtime.ring)
    publication = publication_of(runtime)
    publication.add(hashes)
    if publication.run().failures:
        raise SystemExit("the log could not be published")
    return runtime


def verified_whole(runtime: Runtime, count: int, every_row: bool = False) -> None:
    """As the command does it: files looked through, log, ledger and rows verified."""
    verifier = Verifier(
        runtime.warehouse, signer_of(runtime).history, runtime.settings.retention, runtime.clock(), every_row=every_row,
    )  # fmt: skip
    if (findings := list(verifier.run())) or verifier.report.rows + verifier.report.outside != count:
        raise SystemExit(str(findings[:1]))


def timed(action: Callable[[], object]) -> float:
    """Processor seconds of one run: the core may be shared with others."""
    start = time.process_time()
    action()
    return time.process_time() - start


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300_000)
