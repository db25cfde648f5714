"""A live month whose key is lost without a copy is given up, and the warehouse goes on."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from audits import audit_entries
from click.testing import Result
from retention_world import WINDOW_TABLES, World, report
from typer.testing import CliRunner

from lethe.console.cli import shell
from lethe.console.cli.main import app
from lethe.keys.keeping.keystore import LossNote
from lethe.keys.ring import KeyRing
from lethe.operations import runtime as runtimes
from lethe.operations.asker import Asker
from lethe.operations.health import doctor
from lethe.operations.keys import give_up
from lethe.operations.keys.check import check_keys
from lethe.operations.proof.signer import load_signer
from lethe.operations.retention import hold
from lethe.operations.retention.sweep import run_sweep
from lethe.operations.rights.restrict import restrict
from lethe.operations.runtime import Runtime
from lethe.operations.window import lookup
from lethe.schemas.errors import ConfigurationError, ExpiredKeyError, InputError, LetheError, TransientError
from lethe.schemas.retention.calendar import Month
from lethe.tiers.certificates import certificates
from lethe.tiers.holds import coverage
from lethe.tiers.ledger import reconcile
from lethe.tiers.retention import loss
from lethe.tiers.rights import restrictions

PAKISTANI = "+923001234567"
GERMAN = "+4915112345678"
MARCH, APRIL = Month(2025, 3), Month(2025, 4)
KEY = "2025-04.w12"
AMAL, BOB = Asker.of("amal", "case-1", "the module died"), Asker.of("bob", "case-1", "the module died")


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """Two months of records; the key of the second one is lost."""
    world = make_world()
    world.now = datetime(2025, 4, 10, 12, tzinfo=UTC)
    lines = [
        report(n, PAKISTANI, month.start() + timedelta(days=5)) for n, month in enumerate((MARCH, APRIL))
    ]
    world.ingest([*lines, report(9, GERMAN, APRIL.start() + timedelta(days=6)), b'{"no": "report"}'])
    return world


def lose(world: World) -> bytes:
    path = world.keys / f"{KEY}.key"
    data = path.read_bytes()
    path.unlink()
    return data


def given_up(world: World) -> give_up.GivenUp:
    lose(world)
    give_up.say(world.runtime, AMAL, KEY, "the disk died")
    world.now += timedelta(hours=3)
    return give_up.give_up(world.runtime, BOB, KEY, "the disk died")


def test_records_of_the_month_come_in_again_and_everything_adds_up(world: World) -> None:
    lose(world)
    with pytest.raises(ConfigurationError, match="is not in"):
        world.ingest([report(20, GERMAN, world.now - timedelta(hours=1))])
    said = give_up.say(world.runtime, AMAL, KEY, "the disk died")
    assert said.from_ == world.now + timedelta(hours=3)
    world.now += timedelta(hours=3)
    done = give_up.give_up(world.runtime, BOB, KEY, "the disk died")
    assert done.rows > 0
    world.ingest([report(21, GERMAN, world.now - timedelta(hours=1))])
    assert [row["month"] for row in world.found(GERMAN)] == ["2025-04"]
    assert [row["month"] for row in world.found(PAKISTANI)] == ["2025-03"]
    assert len(world.rows("metadata")) == 4  # the archive lost nothing
    assert reconcile.check(world.runtime.warehouse) == []
    world.sweep()
    assert reconcile.check(world.runtime.warehouse) == []
    assert not [r for r in check_keys(world.runtime.ring, world.now) if r.trouble]


def test_the_certificate_says_that_nothing_was_destroyed_and_verifies(world: World) -> None:
    asked = world.now
    done = given_up(world)
    signer = load_signer(world.keys)
    assert signer is not None
    assert certificates.verify_all(world.runtime.objects, list(signer.history.keys)) == done.certificate + 1
    body = certificates.read(world.runtime.objects, done.certificate)["certificate"]
    assert body["kind"] == "loss"
    assert datetime.fromisoformat(body["unreadable_since"]) == asked
    assert "nothing was destroyed" in body["method"]
    assert body["what"]["key_ids"] == [KEY]
    assert body["counts"]["rows_by_table"].keys() == {"identifiers", "originals", "quarantine"}
    assert "key_gone" not in body


def test_look_up_doctor_and_list_know_the_month(world: World) -> None:
    given_up(world)
    found = lookup.lookup(world.runtime, AMAL, PAKISTANI)
    assert [r["month"] for r in found.records if "month" in r] in ([], ["2025-03"])
    assert len(found.records) == 1
    assert re.search(r"lost, and what came in before 2025-04-10 15:00 UTC", found.missing[KEY])
    infos = {info.key_id: info for info in world.runtime.ring.list(world.now)}
    assert (infos[KEY].state, infos[KEY].given_up) == ("live", world.now)
    checks = [c for c in doctor.checks(world.runtime, {}) if c.what == f"keys {KEY}"]
    assert [(c.state, "lost and given up" in c.found) for c in checks] == [("warning", True)]


def test_what_comes_in_after_it_ends_with_the_month_like_any_other(world: World) -> None:
    given_up(world)
    world.ingest([report(22, GERMAN, world.now - timedelta(hours=1))])
    lost = (world.keys / f"{KEY}.g1.key").read_bytes()
    world.now = datetime(2026, 5, 1, 1, tzinfo=UTC)
    world.ingest([report(23, GERMAN, world.now - timedelta(minutes=30))])
    outcomes = world.sweep()
    assert {o.what: o.state for o in outcomes}[KEY] == "forgotten"
    assert not list(world.keys.glob(f"{KEY}*.key"))
    (world.keys / f"{KEY}.g1.key").write_bytes(lost)
    (world.keys / f"{KEY}.g1.key").chmod(0o600)
    with pytest.raises(ExpiredKeyError):
        world.runtime.ring.probe(APRIL)
    assert reconcile.check(world.runtime.warehouse) == []


@pytest.mark.parametrize("late", [False, True], ids=["before it is given up", "afterwards"])
def test_a_key_that_comes_back(world: World, late: bool) -> None:
    """Before, whoever opens it withdraws the note; afterwards it opens nothing: other keys are in its place."""
    key = lose(world)
    give_up.say(world.runtime, AMAL, KEY, "the disk died")
    world.now += timedelta(hours=3)
    if late:
        give_up.give_up(world.runtime, BOB, KEY, "the disk died")
        before = world.runtime.ring.keys_for(APRIL).token_key
    (world.keys / f"{KEY}.key").write_bytes(key)
    (world.keys / f"{KEY}.key").chmod(0o600)
    if late:
        assert world.runtime.ring.keys_for(APRIL).token_key == before
        return
    assert len(world.found(PAKISTANI)) == 2
    assert give_up.said(world.runtime) == []
    with pytest.raises(LetheError, match="nothing is lost"):
        give_up.give_up(world.runtime, BOB, KEY, "the disk died")
    (world.keys / f"{KEY}.key").unlink()
    with pytest.raises(LetheError, match="nobody has said"):
        give_up.give_up(world.runtime, BOB, KEY, "the disk died")


def test_not_before_three_hours_and_not_by_the_same_person(world: World) -> None:
    lose(world)
    with pytest.raises(LetheError, match="nobody has said"):
        give_up.give_up(world.runtime, BOB, KEY, "the disk died")
    give_up.say(world.runtime, AMAL, KEY, "the disk died")
    world.now += timedelta(hours=2, minutes=59)
    with pytest.raises(LetheError, match="can be given up from 15:00 UTC"):
        give_up.give_up(world.runtime, BOB, KEY, "the disk died")
    world.now += timedelta(minutes=1)
    (world.folder / "service.db").touch()
    with pytest.raises(LetheError, match="another person"):
        give_up.give_up(world.runtime, AMAL, KEY, "the disk died")
    assert len(world.rows("identifiers")) == 3
    give_up.give_up(world.runtime, BOB, KEY, "the disk died")


def test_an_empty_mount_another_directory_and_an_outage_lose_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside = world.folder / "aside"
    world.keys.rename(aside)
    world.keys.mkdir(mode=0o700)
    with pytest.raises(ConfigurationError, match="is empty, but the warehouse has keys"):
        give_up.say(world.runtime, AMAL, KEY, "gone")
    (world.keys / "something.key").write_bytes(bytes(32))  # a directory that has keys, of another warehouse
    with pytest.raises(ConfigurationError, match="nothing shows that it is the right one"):
        give_up.say(world.runtime, AMAL, KEY, "gone")
    shutil.rmtree(world.keys)
    aside.rename(world.keys)
    lose(world)

    def away(*_: object) -> bytes:
        raise TransientError("the provider does not answer")

    with monkeypatch.context() as patch:
        patch.setattr("lethe.keys.providers.local.LocalProvider.unwrap", away)
        with pytest.raises(TransientError):
            give_up.say(world.runtime, AMAL, KEY, "gone")
    assert give_up.said(world.runtime) == []


def test_the_only_key_of_a_new_warehouse_is_given_up_in_its_own_directory_alone(
    make_world: Callable[..., World],
) -> None:
    """There is no other key to open: the directory shows by the keys that sign the log that it is the right one."""
    world, other = make_world(), make_world()
    for one in (world, other):
        one.now = datetime(2025, 4, 10, 12, tzinfo=UTC)
        one.ingest([report(1, GERMAN, APRIL.start() + timedelta(days=6))])
        for file in one.keys.glob("*.key"):
            if file.name not in (f"{KEY}.key", "ledger.key"):
                file.unlink()
        lose(one)
    aside = world.folder / "aside"
    world.keys.rename(aside)
    shutil.copytree(other.keys, world.keys)
    with pytest.raises(ConfigurationError, match="nothing shows that it is the right one"):
        give_up.say(world.runtime, AMAL, KEY, "gone")
    shutil.rmtree(world.keys)
    aside.rename(world.keys)
    give_up.say(world.runtime, AMAL, KEY, "gone")
    world.now += timedelta(hours=3)
    assert give_up.give_up(world.runtime, BOB, KEY, "gone").rows > 0


def test_a_key_that_may_not_be_read_is_not_lost(world: World) -> None:
    (world.keys / f"{KEY}.key").chmod(0o644)
    with pytest.raises(ConfigurationError, match="is there and does not open"):
        give_up.say(world.runtime, AMAL, KEY, "gone")


@pytest.mark.parametrize("sweeps", [False, True])
def test_an_older_copy_of_the_directory_is_found_out_by_who_has_the_key(world: World, sweeps: bool) -> None:
    """The copy has no key of this month, and opens the others; the workers elsewhere have the right directory."""
    key = lose(world)
    give_up.say(world.runtime, AMAL, KEY, "gone")
    (world.keys / f"{KEY}.key").write_bytes(key)
    (world.keys / f"{KEY}.key").chmod(0o600)
    if sweeps:
        assert run_sweep(world.runtime) is not None  # as the leader does each hour
    else:
        world.runtime.ring.keys_for(APRIL, create=True)  # as any worker does within twenty minutes
    lose(world)
    world.now += timedelta(hours=3)
    with pytest.raises(LetheError, match="nobody has said"):
        give_up.give_up(world.runtime, BOB, KEY, "gone")


@pytest.mark.parametrize("erasing", [False, True])
def test_a_lost_key_of_one_month_keeps_no_other_from_being_forgotten(world: World, erasing: bool) -> None:
    if erasing:  # one that died, whose notes cannot be opened: it waits, and the sweep says so
        (world.root / "_erasing" / "erasure-x").mkdir(parents=True)
        (world.root / "_erasing" / "erasure-x" / f"{APRIL}.12.people").write_bytes(b"notes")
    lose(world)
    world.now = datetime(2026, 4, 1, 1, tzinfo=UTC)
    if erasing:
        with pytest.raises(ConfigurationError, match="is not in"):
            world.sweep(forced=True)
    else:
        assert {o.what: o.state for o in world.sweep(forced=True)}["2025-03.w12"] == "forgotten"
    assert not (world.keys / "2025-03.w12.key").exists()
    assert not [row for row in world.rows("identifiers") if row["month"] == "2025-03"]


def test_rows_sealed_meanwhile_show_that_somebody_has_the_key(world: World) -> None:
    """By a worker of a former version, which knows no such note."""
    key = lose(world)
    give_up.say(world.runtime, AMAL, KEY, "gone")
    losses = world.runtime.ring.losses
    note = losses.noted(KEY, losses.prove(KEY))
    assert note is not None
    (world.keys / f"{KEY}.key").write_bytes(key)
    (world.keys / f"{KEY}.key").chmod(0o600)
    world.now += timedelta(minutes=5)
    world.ingest([report(30, GERMAN, world.now - timedelta(hours=1))])
    lose(world)
    losses.note(KEY, losses.prove(KEY), note)
    world.now += timedelta(hours=3)
    with pytest.raises(LetheError, match="somebody has the key"):
        give_up.give_up(world.runtime, BOB, KEY, "gone")
    assert give_up.said(world.runtime) == []


def test_restrictions_and_holds_know_of_it(world: World) -> None:
    restrict(world.runtime, AMAL, PAKISTANI)
    review = world.now + timedelta(days=30)
    hold.place(world.runtime, AMAL, hold.Order("Court", "HC-7", review, people=(GERMAN,)))
    done = given_up(world)
    assert done.restrictions == 0  # a copy stands under March, too
    assert sum(1 for _ in restrictions.every(world.runtime.objects, world.runtime.ring)) == 1
    world.ingest([report(40, PAKISTANI, world.now - timedelta(hours=1))])
    assert {t[0] for t in restrictions.tokens(world.runtime.objects, world.runtime.ring, world.now)} == {
        "2025-03",
        "2025-04",
    }
    maintenance = world.maintenance_context()
    assert coverage.check(maintenance.warehouse, maintenance.holds, maintenance.ring, world.now) == []
    body = certificates.read(world.runtime.objects, done.certificate)["certificate"]
    assert [one["records"] for one in body["held"]] == [1]


def test_keys_move_although_one_is_given_up(world: World) -> None:
    from lethe.keys.keeping.migration import Migration

    given_up(world)
    runtime = world.runtime
    moved = list(Migration(runtime.providers, runtime.objects, runtime.clock, "local").run())
    assert {m.key_id for m in moved} >= {"2025-03.w12", KEY}


def test_nobody_seals_between_the_mark_and_the_other_keys(world: World) -> None:
    lose(world)
    ring: KeyRing = world.runtime.ring
    ring.losses.decide(KEY, 0)
    ring.losses.give_up(KEY, 0, LossNote(world.now, "", "gone"))
    with pytest.raises(TransientError, match="are being given up"):
        ring.keys_for(APRIL, create=True)


def test_the_command_asks_twice_and_the_audit_says_who(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    config = world.folder / "lethe.toml"
    config.write_text(f'root = "{world.root}"\nkeys_dir = "{world.keys}"\n')
    monkeypatch.setattr(runtimes, "Runtime", lambda settings: Runtime(settings, lambda: world.now))
    lose(world)

    def run(who: str, *arguments: str) -> Result:
        monkeypatch.setattr(shell, "who", lambda: who)
        return CliRunner().invoke(app, ["--config", str(config), "--json", "keys", "give-up", *arguments])

    why = ("--reason", "the disk died")
    assert run("amal", KEY).exit_code == 2  # no reason
    assert "without a terminal add --yes" in run("amal", KEY, *why).output
    assert give_up.said(world.runtime) == []
    assert isinstance(run("amal", "2025-03.w12", *why, "--yes").exception, LetheError)  # it opens
    for wrong in ("accounts", "2025-13.w12", "2025-04", "2025-04.w99999"):
        assert isinstance(run("amal", wrong, *why, "--yes").exception, InputError), wrong
    said = json.loads(run("amal", KEY, *why, "--yes").stdout)
    assert (said["who"], said["key_id"]) == ("amal", KEY)
    assert json.loads(run("amal", KEY, "--withdraw").stdout)["withdrawn"]
    run("amal", KEY, *why, "--yes")
    world.now += timedelta(hours=3)
    done = json.loads(run("bob", KEY, *why, "--yes").stdout)
    assert done["rows"] > 0
    told = [(e["who"], e["action"]) for e in audit_entries(world.keys) if e["action"].startswith("keys.")]
    assert told == [
        ("amal", "keys.lost"), ("amal", "keys.found"), ("amal", "keys.lost"), ("bob", "keys.give-up"),
    ]  # fmt: skip


def test_a_sweep_ends_what_a_crash_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Crash(BaseException):
        pass

    points = [
        "noted",
        "marked",
        *(f"dropped.{table}" for table in WINDOW_TABLES),
        "cleared",
        "anew",
        "certified",
    ]
    for at, point in enumerate(points):
        again = World(world.folder / f"copy{at}")
        again.now = world.now
        shutil.copytree(world.root, again.root)
        shutil.copytree(world.keys, again.keys)
        lose(again)
        give_up.say(again.runtime, AMAL, KEY, "gone")
        again.now += timedelta(hours=3)

        def die(name: str, point: str = point) -> None:
            if name == f"give_up.{point}":
                raise Crash

        with monkeypatch.context() as patch:
            patch.setattr(loss, "fail_point", die)
            with pytest.raises(Crash):
                give_up.give_up(again.runtime, BOB, KEY, "gone")
        assert list(loss.unfinished(again.runtime.objects))
        if at % 2:
            again.sweep()
        else:
            give_up.give_up(again.runtime, BOB, KEY, "gone")
        assert not list(loss.unfinished(again.runtime.objects))
        kinds = [c["kind"] for c in certificates.every(again.runtime.objects)]
        assert kinds == ["loss"], point
        again.ingest([report(50, GERMAN, again.now - timedelta(hours=1))])
        assert [row["month"] for row in again.found(GERMAN)] == ["2025-04"], point
        assert reconcile.check(again.runtime.warehouse) == [], point


def test_a_month_that_somebody_marked_as_destroyed_is_told_from_one_that_is(
    make_world: Callable[..., World],
) -> None:
    """The mark is a plain file of the warehouse, and no sweep destroys a key before its time."""
    world = make_world()
    world.ingest([report(1, PAKISTANI, world.now)])
    mark = world.root / "_keys/2025-04.w12.destroyed.json"

    def trouble() -> list[str]:
        return [r.trouble for r in check_keys(world.runtime.ring, world.now) if r.trouble]

    assert trouble() == []
    mark.write_text("{}")
    world.sweep(forced=True)
    assert trouble() == ["it is marked as destroyed or given up, which nobody did: it opens"]
    assert len(world.found(PAKISTANI)) == 1
    mark.unlink()
    assert trouble() == []
    assert len(world.found(PAKISTANI)) == 1
    world.runtime.ring.destroy(Month(2025, 4), 12, early=True)
    assert trouble() == ["its key was destroyed before its window has ended"]
    world.now = datetime(2026, 6, 1, tzinfo=UTC)
    assert trouble() == []
