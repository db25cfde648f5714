"""Spark and the Delta library maintain the tables while Lethe writes: nothing is lost or doubled."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyspark.errors import PySparkException

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "retention"))

from retention_world import World, report

from lethe.operations.archive import query
from lethe.operations.asker import Asker
from lethe.operations.compact import Asked, compact
from lethe.operations.proof.verify import Wanted, verify
from lethe.operations.rights.erase import erase
from lethe.schemas.errors import ConfigurationError
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.ledger import reconcile

TABLES = ("metadata", "identifiers", "originals", "ledger")
MARCH = datetime(2025, 3, 10, 12, tzinfo=UTC)
SOUGHT = "+923001234567"
EACH = 20
AT_ONCE = (
    "'delta.logRetentionDuration'='interval 0 seconds', 'delta.deletedFileRetentionDuration'='interval 0 seconds', "
    "'delta.enableExpiredLogCleanup'='true'"
)


def feed(world: World, number: int) -> None:
    """A file of records; the first of every ten is of the one who is looked for."""
    world.ingest(
        report(at, SOUGHT if at % 10 == 0 else f"+92300{2_000_000 + at}", MARCH + timedelta(seconds=at))
        for at in range(number * EACH, (number + 1) * EACH)
    )


class Spark:
    """What somebody with Spark does to a table."""

    def __init__(self, session: Any, world: World) -> None:
        self.session, self.world = session, world
        session.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")

    def sql(self, statement: str, table: str) -> list[Any]:
        """Run a statement in which `THIS` stands for a table."""
        return list(
            self.session.sql(statement.replace("THIS", f"delta.`{self.world.root / table}`")).collect()
        )

    def maintain(self, table: str) -> None:
        """OPTIMIZE, VACUUM, a checkpoint and the log cleaned up, as eagerly as can be."""
        self.sql("OPTIMIZE THIS", table)
        self.sql("VACUUM THIS RETAIN 1 HOURS", table)
        logs = self.session._jvm.org.apache.spark.sql.delta.DeltaLog
        logs.forTable(self.session._jsparkSession, str(self.world.root / table)).checkpoint()

    def count(self, table: str) -> int:
        """How many rows Spark finds."""
        return int(self.session.read.format("delta").load(str(self.world.root / table)).count())


def by_library(world: World, over: threading.Event) -> None:
    """What somebody with the Delta library and Polars does at the same time."""
    while not over.wait(0.2):
        for table in TABLES:
            with suppress(DeltaError, OSError, pl.exceptions.PolarsError):  # a race that it lost
                known = DeltaTable(str(world.root / table))
                known.optimize.compact()
                known.create_checkpoint()
                known.cleanup_metadata()
                pl.scan_delta(str(world.root / table)).select(pl.len()).collect()


def patiently(work: Callable[[], None], tries: int = 4) -> None:
    """Do it again when Spark says that it has lost a race."""
    for _ in range(tries):
        try:
            work()
            return
        except PySparkException as error:
            lost = error
            if "Concurrent" not in str(error):
                raise
    raise lost


def sound(world: World, batches: int) -> None:
    """All is there, once, as it was logged, for every reader there is."""
    found = verify(world.runtime, Wanted(), lambda _done, _of: None)
    assert found.findings == []
    assert found.report.rows == batches * EACH
    assert reconcile.check(world.runtime.warehouse) == []
    assert len(world.found(SOUGHT)) == batches * EACH // 10
    said = query(world.runtime, "SELECT count(*), count(DISTINCT (stream, \"offset\")), sum(charge), "
                 "min(event_time), max(event_time) FROM billable").rows  # fmt: skip
    ((count, distinct, charge, first, last),) = said
    assert count == distinct == batches * EACH
    assert float(charge) == pytest.approx(0.02 * batches * EACH)
    assert (first, last) == (MARCH, MARCH + timedelta(seconds=batches * EACH - 1))


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "world", integrity={"scope": "all"})
    for number in range(3):
        feed(made, number)
    return made


def test_all_goes_on_whoever_maintains_the_tables_meanwhile(world: World, spark: Any) -> None:
    others, over, failed = Spark(spark, world), threading.Event(), list[BaseException]()

    def safely(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001  (told to the test)
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def ingests() -> None:
        for number in range(3, 8):
            feed(world, number)

    for table in TABLES:
        others.sql(f"ALTER TABLE THIS SET TBLPROPERTIES ({AT_ONCE})", table)
    writer = safely(ingests)
    for table in TABLES[:2]:
        patiently(lambda table=table: others.maintain(table))  # type: ignore[misc]
    maintainer = safely(lambda: by_library(world, over))
    writer.join()
    feed(world, 8)
    over.set()
    maintainer.join()
    assert failed == []
    sound(world, 9)
    others.maintain("metadata")  # now all of it is Spark's
    assert all(p.startswith("month=") and "/part-" in p for p in files(world, "metadata"))
    sound(world, 9)
    assert [others.count(table) for table in TABLES[:2]] == [9 * EACH, 9 * EACH]
    compact(world.runtime, Asked(whole=True))
    sound(world, 9)
    assert all("/run-" in p for p in files(world, "metadata"))
    assert [others.count(table) for table in TABLES[:2]] == [9 * EACH, 9 * EACH]


def files(world: World, table: str) -> list[str]:
    return [f.path for f in files_of(world.runtime.warehouse.table(table))]


def test_a_person_and_a_month_are_forgotten_from_what_spark_has_written(world: World, spark: Any) -> None:
    others = Spark(spark, world)
    for table in TABLES:
        others.sql("OPTIMIZE THIS", table)
    tokens = world.tokens(SOUGHT, ["2025-03"])
    assert world.holding(*tokens.values())
    erase(world.runtime, Asker("olga", "B-7", "request"), SOUGHT)
    assert world.found(SOUGHT) == []
    assert world.holding(*tokens.values()) == []
    found = verify(world.runtime, Wanted(), lambda _done, _of: None)
    assert (found.findings, found.report.rows) == ([], 3 * EACH)
    assert reconcile.check(world.runtime.warehouse) == []
    assert others.count("identifiers") == 3 * EACH * 9 // 10
    world.now = datetime(2026, 4, 1, 1, tzinfo=UTC)
    world.ingest([report(9_000, "+436641234567", world.now - timedelta(hours=1))])
    assert [o.what for o in world.sweep()] == ["2025-03.w12"]
    left = [p for p in world.paths() if "month=2025-03/window" in p]
    assert left == [], "what Spark keeps beside its files goes too"
    assert others.count("identifiers") == 1
    assert others.count("metadata") == 3 * EACH + 1


@pytest.mark.parametrize(
    ("properties", "what"),
    [("'delta.enableDeletionVectors'='true'", r"deletionVectors\), and Lethe cannot read"),
     ("'delta.columnMapping.mode'='name'", r"reader version 2\), and Lethe cannot read"),
     ("'delta.enableRowTracking'='true'", r"domainMetadata, rowTracking\), and Lethe cannot write")],
)  # fmt: skip
def test_a_table_that_spark_has_upgraded(world: World, spark: Any, properties: str, what: str) -> None:
    Spark(spark, world).sql(f"ALTER TABLE THIS SET TBLPROPERTIES ({properties})", "metadata")
    with pytest.raises(ConfigurationError, match=f"table metadata: another engine has upgraded it .{what}"):
        feed(world, 3)
