"""SIGKILL at every step of forgetting, erasing and releasing: whatever is left, running it again ends it properly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from retention_killed import killed_at
from retention_world import WINDOW_TABLES, World, person, report

from lethe.operations.proof.signer import load_signer
from lethe.schemas.position import Position
from lethe.tiers.certificates import certificates, journal
from lethe.tiers.evidence.proof import evidence_of
from lethe.tiers.holds.holds import Holds
from lethe.tiers.holds.release import finish_release
from lethe.tiers.holds.scope import Scope
from lethe.tiers.ledger import reconcile
from lethe.tiers.rights.erasure import erase, preview_erasure

HER = "+923001234567"
HIM = "+4915112345678"
MARCH = datetime(2025, 3, 9, 12, tzinfo=UTC)
END = datetime(2026, 4, 1, tzinfo=UTC)

SWEEP = (
    "sweep.checked", "expire.noted", "hold.kept", "expire.kept", "expire.destroyed", "expire.dropped.identifiers",
    "expire.dropped.originals", "expire.dropped.quarantine", "expire.deleted", "certificate.signed",
    "certificate.written", "expire.certified",
)  # fmt: skip
ARCHIVE = (
    "archive.noted", "archive.written", "archive.dropped", "archive.deleted", "archive.certified",
)  # fmt: skip
PARTLY = ("archive.noted", "log.swap", "log.swapped", "archive.leaves", *ARCHIVE[1:])
ERASE = (
    "hold.kept", "erase.kept", "erase.written.quarantine", "erase.rewritten.quarantine", "erase.written.originals",
    "erase.rewritten.originals", "erase.written.identifiers", "erase.rewritten.identifiers",
    "erase.written.identifiers:2", "erase.rewritten.identifiers:2", "erase.deleted", "certificate.written",
    "erase.noted.quarantine", "erase.committed.originals", "erase.committed.identifiers:2", "erase.certified",
)  # fmt: skip
RELEASE = ("hold.released", "hold.destroyed", "hold.emptied", "hold.certified")


def filled(folder: Path) -> tuple[World, str]:
    """Two people, a rejected record, and a hold on one record of hers."""
    world = World(folder)
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    world.ingest(
        [
            report(1, HER, MARCH, account="held"),
            report(2, HIM, MARCH),
            report(3, HER, MARCH + timedelta(hours=1)),
            b'{"messageId":"broken","to":"923001234567","sentAt":"never"}',
        ]
    )
    runtime = world.runtime
    hold = Holds(runtime.objects, runtime.ring).place(
        "Court", "C-1", END + timedelta(days=900), Scope(accounts=("held",)), world.now
    )
    return world, hold.id


def certified(world: World) -> list[str]:
    signer = load_signer(world.keys)
    assert signer is not None
    certificates.verify_all(world.runtime.objects, signer.history.keys)
    return [c["work"].split("@")[0].split("-")[0] for c in certificates.every(world.runtime.objects)]


@pytest.mark.parametrize("point", SWEEP)
def test_a_sweep_killed_anywhere_is_finished_by_the_next(tmp_path: Path, point: str) -> None:
    world, hold = filled(tmp_path)
    token = world.tokens(HIM, ["2025-03"])["2025-03"]
    world.now = END
    killed_at(point, world, "sweep")
    # Meanwhile readers get a clear answer: nothing of the month, whatever is half done.
    assert world.found(HER) == []
    world.sweep(forced=True)
    assert world.sweep(forced=True) == []
    assert [r for t in WINDOW_TABLES for r in world.rows(t)] == []
    assert [p for p in world.paths() if "2025-03/window_months" in p] == []
    assert not (world.keys / "2025-03.w12.key").exists()
    assert world.holding(token, HIM[1:].encode()) == []
    assert certified(world) == ["2025"], "one month, one certificate"
    (certificate,) = certificates.every(world.runtime.objects)
    assert certificate["counts"]["rows_by_table"] == {"identifiers": 3, "originals": 1, "quarantine": 1}
    assert certificate["held"] == [{"hold": hold, "records": 1}]
    assert journal.open_names(world.runtime.objects) == []
    maintenance = world.maintenance_context()
    (kept,) = maintenance.holds.records(maintenance.holds.find("C-1"))
    assert kept["identifiers"][0]["value"] == HER[1:]
    assert kept["entries"]
    assert reconcile.check(world.runtime.warehouse) == []


@pytest.mark.parametrize("point", ARCHIVE)
def test_an_archive_sweep_killed_anywhere_is_finished_by_the_next(tmp_path: Path, point: str) -> None:
    world, _ = filled(tmp_path)
    world.now = END
    world.sweep(forced=True)
    world.now = datetime(2036, 1, 1, tzinfo=UTC)
    killed_at(point, world, "sweep")
    world.sweep(forced=True)
    assert world.sweep(forced=True) == []
    assert world.rows("metadata") == []
    assert [p for p in world.paths("metadata") if p.endswith(".parquet")] == []
    assert certified(world) == ["2025", "archive"]
    assert list(certificates.every(world.runtime.objects))[1]["counts"]["rows"] == 3


@pytest.mark.parametrize("point", PARTLY)
def test_a_sweep_of_one_countrys_rows_killed_anywhere_leaves_the_others_proven(
    tmp_path: Path, point: str
) -> None:
    world = World(
        tmp_path,
        integrity={"scope": "all"},
        retention={"countries": [{"country": "DE", "archive_years": 2, "reason": "a shorter law"}]},
    )
    world.ingest([report(i, (HER, HIM)[i % 2], MARCH + timedelta(minutes=i)) for i in range(40)])
    before = {r["offset"]: r for r in world.rows("metadata") if r["country"] == "PK"}
    assert len(before) == 20
    world.now = datetime(2028, 1, 1, tzinfo=UTC)
    killed_at(point, world, "sweep")
    # Whatever is half done: what stays can be proven, and nothing else is there after the next sweep.
    proven(world)
    world.sweep(forced=True)
    assert world.sweep(forced=True) == []
    assert {r["offset"]: r for r in world.rows("metadata")} == before
    proven(world)
    assert certified(world).count("archive") == 1
    assert [p for p in world.paths("_log") if p.endswith(".whole")], "all leaf hashes are kept"


def proven(world: World) -> None:
    """Evidence can be made of all that stays."""
    signer = load_signer(world.keys)
    assert signer is not None
    runtime = world.runtime
    for row in world.rows("metadata"):
        if row["country"] == "PK":
            position = Position(row["stream"], row["partition"], row["offset"], row["index"])
            evidence_of(runtime.warehouse, runtime.ring, signer.history, position, world.now)


def with_her_named(folder: Path) -> World:
    """Somebody else's record names her, as its message id: that is the first thing to go from the identifiers."""
    world, _ = filled(folder)
    world.ingest([report(4, HIM, MARCH, message_id=HER, mccMnc="26201", callbackData="his own")])
    return world


COUNTED = {
    "identifiers": 2,
    "originals": 2,
    "quarantine": 1,
    "mentioned": 1,
    "usage": 0,
    "evidence": 0,
    "held": 1,
}


def told_of(world: World) -> list[dict[str, int]]:
    assert set(certified(world)) <= {"erasure"}
    return [c["counts"] for c in certificates.every(world.runtime.objects)]


@pytest.mark.parametrize("point", ERASE)
def test_an_erasure_killed_anywhere_is_finished_by_asking_again(tmp_path: Path, point: str) -> None:
    world = with_her_named(tmp_path)
    token = world.tokens(HER, ["2025-03"])["2025-03"]
    killed_at(point, world, f"erase {HER}")
    for path in world.paths("_erasing"):
        assert HER[1:].encode() not in (world.root / path).read_bytes()
    assert preview_erasure(world.maintenance_context(), person(HER)).unfinished
    erase(world.maintenance_context(), person(HER))
    left = preview_erasure(world.maintenance_context(), person(HER))
    assert (left.months, left.unfinished) == ([], False)
    # One certificate, of all of it, whoever did it.
    assert told_of(world) == [COUNTED]
    assert world.paths("_erasing") == world.paths("_forgetting") == []
    # What the killed one wrote and did not commit is in no table; an hour later nobody can be about to commit it.
    assert world.found(HER) == []
    assert len(world.found(HIM)) == 2
    assert [r["message_token"] is None for r in world.rows("identifiers")].count(True) == 1
    assert world.holding(token) == []
    assert len(world.rows("metadata")) == 4
    assert reconcile.check(world.runtime.warehouse) == []
    maintenance = world.maintenance_context()
    (kept,) = maintenance.holds.records(maintenance.holds.find("C-1"))
    assert kept["identifiers"][0]["value"] == HER[1:]
    assert kept["entries"], "what was set aside first is not replaced by what was left after half an erasure"


@pytest.mark.parametrize("point", ["erase.committed.identifiers:2", "erase.kept"])
def test_an_erasure_nobody_asks_for_again_is_ended_by_a_sweep_a_day_later(tmp_path: Path, point: str) -> None:
    world = with_her_named(tmp_path)
    killed_at(point, world, f"erase {HER}")
    world.now += timedelta(hours=23)
    assert world.sweep(forced=True) == []
    assert told_of(world) == []
    world.now += timedelta(hours=2)
    assert [o.state for o in world.sweep(forced=True)] == ["erased"]
    assert told_of(world) == [COUNTED]
    assert world.found(HER) == []
    assert world.sweep(forced=True) == []
    assert world.paths("_erasing") == world.paths("_forgetting") == []


def test_an_erasure_whose_months_have_ended_is_certified_of_what_was_done(tmp_path: Path) -> None:
    world = with_her_named(tmp_path)
    killed_at("erase.committed.originals", world, f"erase {HER}")
    world.now = END + timedelta(days=60)
    world.sweep(forced=True)
    world.sweep(forced=True)
    told = {c["kind"]: c for c in certificates.every(world.runtime.objects)}
    assert told.keys() == {"erasure", "window"}
    assert told["erasure"]["counts"] == COUNTED | {"identifiers": 0}
    assert told["erasure"]["checks"][0] == "every month that it was about has ended since"
    assert world.paths("_erasing") == world.paths("_forgetting") == []


def test_another_person_asked_for_leaves_it_and_one_more_of_them_ends_it_first(tmp_path: Path) -> None:
    world = with_her_named(tmp_path)
    killed_at("erase.committed.originals", world, f"erase {HER}")
    erase(world.maintenance_context(), person("+4915199999999"))
    assert told_of(world) == []
    erase(world.maintenance_context(), (*person(HER), *person(HIM)))
    hers, his = told_of(world)
    assert hers == COUNTED
    assert (his["identifiers"], his["originals"]) == (2, 2)
    assert world.rows("identifiers") == []
    assert world.paths("_erasing") == world.paths("_forgetting") == []


@pytest.mark.parametrize("point", RELEASE)
def test_a_release_killed_anywhere_is_finished_by_the_next_sweep(tmp_path: Path, point: str) -> None:
    world, hold = filled(tmp_path)
    world.now = END
    world.sweep(forced=True)
    killed_at(point, world, f"release {hold}")
    world.sweep(forced=True)
    assert [p for p in world.paths("_holds") if "/records/" in p or "/waiting/" in p] == []
    assert not (world.keys / f"hold.{hold}.key").exists()
    assert certified(world) == ["2025", "hold"]
    maintenance = world.maintenance_context()
    finish_release(maintenance.holds, maintenance.registrar, hold, world.now)
    assert certified(world) == ["2025", "hold"]
