"""Forgetting while others write, sweep and read: nobody loses a row, nobody gets one back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from retention_killed import start
from retention_world import WINDOW_TABLES, World, person, report

from lethe.operations.proof.signer import load_signer
from lethe.schemas.errors import ExpiredKeyError, FencedError
from lethe.tiers.certificates import certificates
from lethe.tiers.delta.rewrite import files_of, replace
from lethe.tiers.ledger import reconcile
from lethe.tiers.rights.erasure import erase

HER = "+923001234567"
HIM = "+4915112345678"
MARCH = datetime(2025, 3, 9, 12, tzinfo=UTC)
ROUNDS = 8


def test_an_erasure_while_a_worker_writes(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    world.ingest([report(1, HER, MARCH), report(2, HIM, MARCH)])
    writing = start(world, f"write {ROUNDS}")
    erasures = 0
    while writing.is_alive():
        erasures += erase(world.maintenance_context(), person(HER)).certificate is not None
    writing.join()
    assert writing.exitcode == 0
    assert erasures
    # What came in after the last look is there; asked again, it goes as well.
    erase(world.maintenance_context(), person(HER))
    assert world.found(HER) == []
    assert len(world.found(HIM)) == 1 + ROUNDS, "nobody else lost a row"
    assert len(world.rows("metadata")) == 2 + 2 * ROUNDS
    assert reconcile.check(world.runtime.warehouse) == []


def test_two_leaders_sweep_at_the_same_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    for month in (3, 4, 5, 6):
        world.now = datetime(2025, month, 28, tzinfo=UTC)
        world.ingest([report(month * 10 + i, HIM, world.now - timedelta(days=i + 1)) for i in range(5)])
    world.now = datetime(2027, 1, 1, tzinfo=UTC)
    sweeps = [start(world, "sweep") for _ in range(3)]
    for one in sweeps:
        one.join()
    world.sweep(forced=True)
    assert world.sweep(forced=True) == []
    assert [r for t in WINDOW_TABLES for r in world.rows(t)] == []
    signer = load_signer(world.keys)
    assert signer is not None
    certificates.verify_all(world.runtime.objects, signer.history.keys)
    named = [c["what"]["month"] for c in certificates.every(world.runtime.objects)]
    assert sorted(set(named)) == ["2025-03", "2025-04", "2025-05", "2025-06"]
    counted = dict.fromkeys(named, 0)
    for certificate in certificates.every(world.runtime.objects):
        counted[certificate["what"]["month"]] += certificate["counts"]["rows"]
    assert all(count >= 5 for count in counted.values())


def test_a_compaction_from_before_an_erasure_cannot_bring_it_back(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    world.ingest([report(1, HER, MARCH), report(2, HIM, MARCH)])
    stale = world.runtime.warehouse.window["identifiers"]
    files = files_of(stale)
    erase(world.maintenance_context(), person(HER))
    with pytest.raises(FencedError):
        replace(stale, files, [], 0, "compact")
    assert len(world.found(HIM)) == 1


def test_a_worker_that_commits_a_forgotten_month_late_brings_nothing_back(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    world.ingest([report(1, HIM, MARCH)])
    slow = world.runtime  # has the month's keys, and a batch of it in its hands
    transformed = world.prepare(slow, [report(2, HER, MARCH)])
    world.now = datetime(2026, 4, 1, tzinfo=UTC)
    world.sweep(forced=True)
    with pytest.raises(ExpiredKeyError, match="ended"):
        slow.warehouse.commit([transformed], slow.ring)
    assert world.found(HER) == []
    world.sweep(forced=True)
    world.now += timedelta(hours=1)
    world.sweep(forced=True)
    assert [r for t in WINDOW_TABLES for r in world.rows(t)] == []
    assert [p for p in world.paths() if "2025-03/window_months" in p] == []


STEPS = [
    f"erase.{step}" for step in ("kept", "written.identifiers", "noted.identifiers", "committed.identifiers",
                                 "written.originals", "committed.originals", "deleted", "certified")
]  # fmt: skip


@pytest.mark.parametrize("dies", ["", *STEPS])
def test_two_erasures_of_one_person_at_the_same_moment(tmp_path: Path, dies: str) -> None:
    """Whoever dies on the way, each row goes once and stands in one certificate, and nobody else loses any."""
    world = World(tmp_path)
    for month in (2, 3):
        world.now = datetime(2025, month, 20, tzinfo=UTC)
        for number in range(2):
            when = world.now - timedelta(days=number + 1)
            at = month * 10 + number
            world.ingest([report(100 + at, HER, when), report(200 + at, HIM, when)])
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    both = [start(world, f"erase {HER}", dies), start(world, f"erase {HER}")]
    for one in both:
        one.join()
    assert both[1].exitcode == 0, "the other one ends whatever happens to the first"
    assert both[0].exitcode in (
        (0,) if not dies else (0, -9)
    )  # where the other was first it may find nothing
    assert world.found(HER) == []
    # The first may have died with rows taken out and no certificate: asked again, or by a sweep, it gets one.
    erase(world.maintenance_context(), person(HER))
    world.now += timedelta(days=2)
    world.sweep(forced=True)
    assert world.holding(HER[1:].encode()) == []
    assert len(world.found(HIM)) == 4
    assert len(world.rows("metadata")) == 8
    assert reconcile.check(world.runtime.warehouse) == []
    signer = load_signer(world.keys)
    assert signer is not None
    certificates.verify_all(world.runtime.objects, signer.history.keys)
    said = [c for c in certificates.every(world.runtime.objects) if c["kind"] == "erasure"]
    assert sum(c["counts"]["identifiers"] for c in said) == 4, said
    assert 1 <= len(said) <= 2
    assert world.paths("_erasing") == world.paths("_forgetting") == []
