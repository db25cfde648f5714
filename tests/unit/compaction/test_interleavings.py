"""Any order of appends, merges, erasures, holds, replays, ends of months, verifications and look-ups leaves the rows
that there would be without the merges: each merge changes no row, whatever came before, and all else finds what a model
says.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from retention_world import World, person, report

from lethe.operations.asker import Asker
from lethe.operations.compact import Asked, compact
from lethe.operations.intake.replay import Wanted, replay
from lethe.operations.proof.verify import Wanted as Rows
from lethe.operations.proof.verify import verify
from lethe.operations.retention.hold import Order, place
from lethe.tiers.compaction.jobs import READERS
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.ledger import reconcile
from lethe.tiers.rights.erasure import erase

TABLES = ("identifiers", "originals", "quarantine", "metadata", "ledger")
PEOPLE = ("+923001234567", "+4915112345678", "+447700900123")
FORMAT = "infobip/sms-report"
SHIPPED = (Path(__file__).parents[3] / "schemas/formats/infobip-sms-report.toml").read_text("utf-8")
OURS = SHIPPED.replace(f'name = "{FORMAT}"', 'name = "acme/sms"')
DEMANDING = OURS.replace('path = "mccMnc"\n', 'path = "mccMnc"\nrequired = true\n')
"""Rejects what a replay by `OURS` takes."""
STEPS = st.one_of(
    st.tuples(st.just("append"), st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=4)),
    st.tuples(st.just("reject"), st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=3)),
    st.tuples(st.just("replay"), st.none()),
    st.tuples(st.just("hold"), st.sampled_from(PEOPLE)),
    st.tuples(st.just("verify"), st.none()),
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


class Model:
    """What there should be: per person the records in the window and those that wait in quarantine."""

    def __init__(self, folder: Path, make: Callable[..., World] = World) -> None:
        self.formats = folder / "formats"
        self.formats.mkdir()
        self.declare(DEMANDING)
        self.world = make(folder / "world", formats_dir=self.formats)
        self.world.now = datetime(2025, 3, 20, tzinfo=UTC)
        self.world.runtime.warehouse.publish()
        self.archived, self.number = 0, 0
        self.known, self.waiting = dict.fromkeys(PEOPLE, 0), dict.fromkeys(PEOPLE, 0)

    def declare(self, text: str) -> None:
        (self.formats / "acme.toml").write_text(text, "utf-8")

    @property
    def ended(self) -> bool:
        return self.world.now >= datetime(2026, 4, 1, tzinfo=UTC)

    def append(self, people: list[str]) -> None:
        if not self.ended:
            self.world.ingest([*self._lines(people), b"{}"])
            self.archived += len(people)
            for to in people:
                self.known[to] += 1

    def reject(self, people: list[str]) -> None:
        if not self.ended:
            self.world.ingest(self._lines(people, mccMnc=None), "acme/sms")
            for to in people:
                self.waiting[to] += 1

    def _lines(self, people: list[str], **more: object) -> list[bytes]:
        start = self.number
        self.number += len(people)
        when = datetime(2025, 3, 9, 12, tzinfo=UTC)
        return [report(start + at, to, when, **more) for at, to in enumerate(people, 1)]  # type: ignore[arg-type]

    def replay(self, _: object) -> None:
        self.declare(OURS)
        try:
            replay(self.world.runtime, Wanted())
        finally:
            self.declare(DEMANDING)
        if not self.ended:
            self.archived += sum(self.waiting.values())
            for to in PEOPLE:
                self.known[to] += self.waiting[to]
            self.waiting = dict.fromkeys(PEOPLE, 0)

    def merge(self, whole: bool) -> None:
        merge(self.world, whole)

    def erase(self, to: str) -> None:
        erase(self.world.maintenance_context(), person(to))
        self.known[to] = self.waiting[to] = 0

    def hold(self, to: str) -> None:
        self.number += 1
        order = Order("High Court", f"HC-{self.number}", self.world.now + timedelta(days=30), (to,))
        place(self.world.runtime, Asker.of("ada", "F-1", "test"), order)

    def wait(self, hours: int) -> None:
        self.world.now += timedelta(days=hours * 10) if hours > 30 else READERS

    def sweep(self, _: object) -> None:
        self.world.sweep(forced=True)

    def verify(self, _: object) -> None:
        assert reconcile.check(self.world.runtime.warehouse) == []
        if self.archived:
            found = verify(self.world.runtime, Rows(originals=True), lambda _done, _all: None)
            assert [finding.kind for finding in found.findings] == []

    def check(self, step: str) -> None:
        if self.ended:
            self.known = dict.fromkeys(PEOPLE, 0)
            self.waiting = dict.fromkeys(PEOPLE, 0)
        assert {to: len(self.world.found(to)) for to in PEOPLE} == self.known, step
        assert len(self.world.rows("metadata")) == self.archived


@given(st.lists(STEPS, min_size=3, max_size=12))
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
def test_merges_change_nothing_that_anyone_sees(steps: list[tuple[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run(Model(Path(folder)), steps)


def test_everything_once_between_merges() -> None:
    with tempfile.TemporaryDirectory() as folder:
        steps: list[tuple[str, object]] = [
            ("append", [*PEOPLE, PEOPLE[0]]), ("reject", list(PEOPLE)), ("hold", PEOPLE[1]), ("merge", True),
            ("erase", PEOPLE[0]), ("replay", None), ("append", [PEOPLE[0]]), ("merge", False), ("verify", None),
            ("erase", PEOPLE[1]), ("wait", 1), ("merge", True), ("sweep", None), ("verify", None), ("wait", 40),
            ("sweep", None), ("replay", None), ("verify", None),
        ]  # fmt: skip
        run(Model(Path(folder)), steps)


def run(model: Model, steps: list[tuple[str, object]]) -> None:
    for step, argument in [*steps, ("merge", True), ("verify", None)]:
        getattr(model, step)(argument)
        model.check(step)
