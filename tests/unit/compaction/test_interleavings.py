"""Any order of appends, merges, erasures, holds, ends of months and look-ups leaves the rows that there would be
without the merges: each merge changes no row, whatever came before, and all else finds what a model says.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from retention_world import World, person, report

from lethe.operations.compact import Asked, compact
from lethe.tiers.compaction.jobs import READERS
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.ledger import reconcile
from lethe.tiers.rights.erasure import erase

TABLES = ("identifiers", "originals", "quarantine", "metadata", "ledger")
PEOPLE = ("+923001234567", "+4915112345678", "+447700900123")
STEPS = st.one_of(
    st.tuples(st.just("append"), st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=4)),
    st.tuples(st.just("merge"), st.booleans()),
    st.tuples(st.just("erase"), st.sampled_from(PEOPLE)),
    st.tuples(st.just("wait"), st.integers(1, 40)),
    st.tuples(st.just("sweep"), st.none()),
)


def rows(world: World) -> dict[str, list[str]]:
    return {table: sorted(map(repr, world.rows(table))) for table in TABLES}


def merge(world: World, whole: bool) -> None:
    before = rows(world)
    compact(world.runtime, Asked(whole=whole))
    assert rows(world) == before
    if whole:
        for table in TABLES:
            files = files_of(world.runtime.warehouse.table(table))
            assert len(files) == len({tuple(f.partition.items()) for f in files}), "one run a month"


@given(st.lists(STEPS, min_size=3, max_size=12))
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
def test_merges_change_nothing_that_anyone_sees(steps: list[tuple[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        world.now = datetime(2025, 3, 20, tzinfo=UTC)
        archived, model, number = 0, dict.fromkeys(PEOPLE, 0), 0
        world.runtime.warehouse.publish()
        for step, argument in [*steps, ("merge", True)]:
            if step == "append":
                assert isinstance(argument, list)
                lines = []
                for to in argument:
                    number += 1
                    lines.append(report(number, to, datetime(2025, 3, 9, 12, tzinfo=UTC)))
                if world.now < datetime(2026, 4, 1, tzinfo=UTC):
                    world.ingest([*lines, b"{}"])
                    archived += len(argument)
                    for to in argument:
                        model[to] += 1
            elif step == "merge":
                merge(world, bool(argument))
            elif step == "erase":
                erase(world.maintenance_context(), person(str(argument)))
                model[str(argument)] = 0
            elif step == "wait":
                assert isinstance(argument, int)
                world.now += timedelta(days=argument * 10) if argument > 30 else READERS
            else:
                world.sweep(forced=True)
            if world.now >= datetime(2026, 4, 1, tzinfo=UTC):
                model = dict.fromkeys(PEOPLE, 0)
            assert {to: len(world.found(to)) for to in PEOPLE} == model, step
            assert len(world.rows("metadata")) == archived
        assert reconcile.check(world.runtime.warehouse) == []
