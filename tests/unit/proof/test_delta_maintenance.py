"""Others read and maintain the archive while a worker commits: all of it is there, once, and as it was logged.

The library maintains (OPTIMIZE, VACUUM, checkpoint, clean-up of the log); it, Polars and DuckDB read.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from proof_world import World

from lethe.tiers.ledger.reconcile import check

STREAM = "topic"
COMMITS, RECORDS = 6, 40
AT_ONCE = {"delta.logRetentionDuration": "interval 0 seconds", "delta.enableExpiredLogCleanup": "true"}


def by_library(url: str) -> list[int]:
    return [int(n) for n in DeltaTable(url).to_pyarrow_table(columns=["offset"])["offset"].to_pylist()]


def by_polars(url: str) -> list[int]:
    return pl.scan_delta(url).select("offset").collect().get_column("offset").to_list()


def by_duckdb(url: str) -> list[int]:
    archive = DeltaTable(url).to_pyarrow_dataset()  # noqa: F841  (the query names it)
    return [offset for (offset,) in duckdb.sql('select "offset" from archive').fetchall()]


READERS = (by_library, by_polars, by_duckdb)


class Others:
    """Threads that maintain and read the archive until they are told to stop."""

    def __init__(self, url: str) -> None:
        self.url, self.over = url, threading.Event()
        self.maintained: set[str] = set()
        self.reads: dict[str, int] = {}
        self.wrong: list[str] = []
        self.threads = [threading.Thread(target=work) for work in (self.maintain, self.read)]

    def maintain(self) -> None:
        work = {
            "optimize": lambda t: t.optimize.compact(),
            "vacuum": lambda t: t.vacuum(retention_hours=1, enforce_retention_duration=False, dry_run=False),
            "checkpoint": lambda t: t.create_checkpoint(),
            "cleanup": lambda t: t.cleanup_metadata(),
        }
        while not self.over.is_set():
            for name, one in work.items():
                with suppress(DeltaError, OSError):  # it lost a race: that is the library's affair
                    one(DeltaTable(self.url))
                    self.maintained.add(name)

    def wait(self) -> None:
        """Wait until each kind of maintenance and each reader has had its turn; a busy machine gives few."""
        end = time.monotonic() + 200
        while time.monotonic() < end and (len(self.maintained) < 4 or len(self.reads) < len(READERS)):
            time.sleep(0.05)

    def read(self) -> None:
        while not self.over.is_set():
            for reader in READERS:
                try:
                    seen = reader(self.url)
                except (OSError, DeltaError, pl.exceptions.PolarsError, duckdb.Error):
                    continue  # a commit it was about to read has just been cleaned away
                name, before = reader.__name__, self.reads.get(reader.__name__, 0)
                if len(set(seen)) < len(seen) or sorted(seen) != list(range(len(seen))) or len(seen) < before:
                    self.wrong.append(name)
                self.reads[name] = len(seen)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.feed(STREAM, RECORDS, 0, months=1, malformed=0, late=0)
    return made


def test_all_is_there_once_whoever_maintains_and_reads(world: World) -> None:
    url = world.runtime.warehouse.metadata.url
    DeltaTable(url).alter.set_table_properties(dict(AT_ONCE))
    others = Others(url)
    for thread in others.threads:
        thread.start()
    try:
        for number in range(1, COMMITS):
            world.feed(STREAM, RECORDS, number, months=1, malformed=0, late=0)
        others.wait()
    finally:
        others.over.set()
        for thread in others.threads:
            thread.join()
    assert others.maintained == {"optimize", "vacuum", "checkpoint", "cleanup"}
    assert others.wrong == []
    assert set(others.reads) == {reader.__name__ for reader in READERS}
    for reader in READERS:
        assert sorted(reader(url)) == list(range(COMMITS * RECORDS))
    assert world.verify() == []
    assert world.report is not None
    assert world.report.rows + world.report.outside == COMMITS * RECORDS
    assert check(world.runtime.warehouse) == []
