"""A writer died before its commit: its files lie under live keys, named by no table, with people in them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from retention_world import World, person, report

from lethe.tiers.certificates import certificates
from lethe.tiers.delta import rewrite
from lethe.tiers.delta import table as tables
from lethe.tiers.delta.log import DataFile
from lethe.tiers.delta.orphans import ORPHAN_AGE
from lethe.tiers.rights.erasure import erase
from lethe.tiers.store.objects import Objects
from lethe.tiers.warehouse import Warehouse

HER, HIM = "+923001234567", "+4915112345678"
MARCH = datetime(2025, 3, 9, 12, tzinfo=UTC)


def leave_orphans(world: World, monkeypatch: pytest.MonkeyPatch, *people: str) -> list[str]:
    """Let a writer die with the files of all three window tables written and none of them committed."""
    before = set(world.paths())
    runtime = world.runtime
    runtime.warehouse.publish()
    lines = [report(n, who, MARCH + timedelta(days=1)) for n, who in enumerate(people)]
    prepared = world.prepare(runtime, [*lines, b'{"messageId":"broken","to":"' + people[0].encode() + b'"'])
    with monkeypatch.context() as dying:
        dying.setattr(Warehouse, "_try_commit", lambda *_: True)  # neither committed nor refused: it is dead
        runtime.warehouse.commit([prepared], runtime.ring)
    left = set(world.paths()) - before
    return sorted(p for p in left if p.endswith(".parquet") and p.startswith(("ident", "orig", "quar")))


def traffic(world: World) -> None:
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    world.ingest([report(1, HER, MARCH), report(2, HIM, MARCH)])


def checks(world: World, number: int | None) -> str:
    assert number is not None
    return " ".join(certificates.read(world.runtime.objects, number)["certificate"]["checks"])


def test_an_erasure_says_which_files_it_does_not_reach_and_removes_them_in_time(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    traffic(world)
    orphans = leave_orphans(world, monkeypatch, HER)
    assert len(orphans) == 3
    done = erase(world.maintenance_context(), person(HER))
    assert done.not_reached_until == world.now + ORPHAN_AGE
    assert "3 files that no table names yet" in checks(world, done.certificate)
    assert set(orphans) <= set(world.paths())  # a writer could be about to commit them
    world.now += ORPHAN_AGE
    again = erase(world.maintenance_context(), person(HER))
    assert again.not_reached_until is None
    assert {f["path"] for f in again.files} == set(orphans)
    assert "nor in files that no table names" in checks(world, again.certificate)
    assert not set(orphans) & set(world.paths())


def test_files_of_others_do_not_keep_an_erasure_from_being_whole(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    traffic(world)
    orphans = leave_orphans(world, monkeypatch, HIM)
    done = erase(world.maintenance_context(), person(HER))
    assert done.not_reached_until is None
    assert "nor in files that no table names" in checks(world, done.certificate)
    assert set(orphans) <= set(world.paths())


def test_a_half_written_file_may_have_anybody_in_it(make_world: Callable[..., World]) -> None:
    world = make_world()
    traffic(world)
    half = world.root / "identifiers/month=2025-03/window_months=12/.x.parquet.0123456789abcdef"
    half.write_bytes(b"PAR1 and then the power went")
    done = erase(world.maintenance_context(), person(HER))
    assert done.not_reached_until == world.now + ORPHAN_AGE
    world.now += ORPHAN_AGE
    erase(world.maintenance_context(), person(HER))
    assert not half.exists()


def test_a_sweep_removes_orphans_in_time_and_nothing_else(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    traffic(world)
    committed = set(world.paths())
    orphans = leave_orphans(world, monkeypatch, HER, HIM)
    world.sweep(forced=True)
    assert set(orphans) <= set(world.paths())
    world.now += ORPHAN_AGE - timedelta(seconds=1)
    world.sweep(forced=True)
    assert set(orphans) <= set(world.paths())
    world.now += timedelta(seconds=1)
    world.sweep(forced=True)
    left = set(world.paths())
    assert not set(orphans) & left
    assert {p for p in committed if p.endswith(".parquet")} <= left
    assert len(world.found(HIM)) == 1


def test_what_was_taken_for_an_orphan_and_is_committed_is_left_alone(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    traffic(world)
    orphans = leave_orphans(world, monkeypatch, HER)
    world.sweep(forced=True)
    runtime = world.runtime  # the records are read again, and the same rows are the same files
    lines = [report(0, HER, MARCH + timedelta(days=1)), b'{"messageId":"broken","to":"' + HER.encode() + b'"']
    runtime.warehouse.commit([world.prepare(runtime, lines)], runtime.ring)
    assert set(orphans) <= set(world.paths())
    world.now += 2 * ORPHAN_AGE
    world.sweep(forced=True)
    assert set(orphans) <= set(world.paths())
    assert len(world.found(HER)) == 2


def test_a_writer_that_was_away_for_hours_writes_its_files_again(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its files and its commit they may have been taken for orphans."""
    world = make_world()
    traffic(world)
    runtime = world.runtime
    committed = set(world.paths("identifiers"))
    real, paused = Warehouse._try_commit, [True]

    def slowly(self: Warehouse, *given: object) -> bool:
        done = bool(real(self, *given))  # type: ignore[arg-type]
        if paused.pop() if paused else False:
            for path in set(world.paths("identifiers")) - committed:
                if path.endswith(".parquet"):
                    (world.root / path).unlink()  # as a sweep does
            start = tables._now()
            monkeypatch.setattr(tables, "_now", lambda: start + 7 * 3_600)
        return done

    monkeypatch.setattr(Warehouse, "_try_commit", slowly)
    prepared = world.prepare(runtime, [report(7, HER, MARCH + timedelta(days=2))])
    runtime.warehouse.commit([prepared], runtime.ring)
    assert len(world.found(HER)) == 2


def test_an_erasure_does_not_commit_files_that_waited_too_long(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    traffic(world)
    real, paused = rewrite.write_files, [True]
    written: list[str] = []

    def slowly(objects: Objects, table: str, *given: object) -> list[DataFile]:
        files = real(objects, table, *given)  # type: ignore[arg-type]
        written.append(table)
        if paused.pop() if paused else False:
            for file in files:
                objects.delete(f"{table}/{file.path}")  # as a sweep does
            start = tables._now()
            monkeypatch.setattr(tables, "_now", lambda: start + 7 * 3_600)
        return files

    monkeypatch.setattr(rewrite, "write_files", slowly)
    assert erase(world.maintenance_context(), person(HER)).certificate is not None
    assert len(written) > len(set(written))  # written again
    assert len(world.found(HIM)) == 1
