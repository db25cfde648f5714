"""Stand-ins of codes are named once the site approves them or fifty people share them; none of a person ever is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from retention_world import World, report
from typer.testing import CliRunner

from lethe.console.cli.main import app
from lethe.operations import codes
from lethe.operations.asker import Asker
from lethe.operations.retention.sweep import run_sweep
from lethe.operations.site_files import SiteFile, read_codes
from lethe.schemas.errors import ConfigurationError, FencedError, InputError
from lethe.schemas.retention.calendar import Month
from lethe.tiers import monthly
from lethe.tiers.archive import sql
from lethe.tiers.codes import table

MARCH = datetime(2025, 3, 10, 12, tzinfo=UTC)
ASKER = Asker("olga", "B-7", "routes")
NAME = "Telenor Pakistan (direct)"


def routed(number: int, to: str, route: str = NAME, **more: Any) -> bytes:
    record = json.loads(report(number, to, MARCH + timedelta(seconds=number)))
    return json.dumps({**record, "route": route, **more}).encode()


def people(count: int, first: int = 0) -> list[str]:
    """Half of them in Pakistan, whose records keep their original; half of them not."""
    return [
        f"+92300{1_000_000 + first + n}" if n % 2 else f"+4479{11_000_000 + first + n}" for n in range(count)
    ]


def named(world: World) -> dict[tuple[str, str], str]:
    rows = world.rows("codes")
    assert len({(r["month"], r["column_name"], r["stand_in"]) for r in rows}) == len(rows), "once each"
    return {(r["column_name"], r["text"]): r["why"] for r in rows}


def shown(world: World, column: str = "route", view: str = "named") -> set[str]:
    _, rows = sql.query(world.runtime.warehouse, f"SELECT DISTINCT {column} FROM {view}")
    return {row[0] for row in rows}


def test_an_approved_code_is_named_and_no_archive_row_changes(world: World) -> None:
    world.ingest(
        [routed(1, "+923001234567"), routed(2, "+4915112345678"), routed(3, "+14155550123", "Route 66")]
    )
    before = world.rows("metadata")
    assert codes.sweep(world.runtime) == {"2025-03": 0}
    codes.approve(world.runtime, ASKER, "route", f" {NAME} ")
    assert codes.sweep(world.runtime) == {"2025-03": 1}
    assert codes.sweep(world.runtime) == {"2025-03": 0}
    assert named(world) == {("route", NAME): "approved"}
    assert world.rows("metadata") == before
    for view in ("named", "billable"):
        texts = shown(world, view=view)
        assert NAME in texts
        assert len(texts) == 2
        assert "Route 66" not in texts
    assert len(shown(world, view="metadata") & {NAME}) == 0


@pytest.mark.parametrize(("count", "why"), [(50, {("route", NAME): "shared"}), (49, {})])
def test_a_code_that_fifty_people_share_names_none_of_them(world: World, count: int, why: Any) -> None:
    world.ingest([routed(n, who) for n, who in enumerate(people(count))])
    codes.sweep(world.runtime)
    assert named(world) == why


def test_a_code_that_one_person_is_often_behind_is_not_named(world: World) -> None:
    often = [routed(n, "+923001234567") for n in range(8)]
    world.ingest(often + [routed(100 + n, who) for n, who in enumerate(people(60))])
    codes.sweep(world.runtime)
    assert named(world) == {}
    world.ingest([routed(200 + n, who) for n, who in enumerate(people(20, 500))])
    codes.sweep(world.runtime)
    assert named(world) == {("route", NAME): "shared"}


@pytest.mark.parametrize(
    "somebody",
    ["+923335550107", "0092 333 5550107", "jane@example.org", "sip:jane@pbx", "x333 5550107", "198.51.100.7",
     "٠٣٣٣٥٥٥٠١٠٧"],
)  # fmt: skip
def test_whoever_is_planted_in_a_code_is_never_named(world: World, somebody: str) -> None:
    world.ingest([routed(n, who, somebody) for n, who in enumerate(people(120))])
    with pytest.raises(InputError, match="looks like an address"):
        codes.approve(world.runtime, ASKER, "route", somebody)
    codes.sweep(world.runtime)
    assert named(world) == {}
    assert not world.holding(somebody.encode())


def test_an_account_of_a_switch_is_named_by_approval_alone(world: World) -> None:
    line = ('"ayesha.khan","+44791100{n:04d}","+44792200{n:04d}","from-trunk","","SIP/a","SIP/b","Dial","x",'
            '"2025-03-01 10:00:00","2025-03-01 10:00:01","2025-03-01 10:01:00",60,59,"ANSWERED","DOCUMENTATION",'
            '"17{n:05d}.1",""')  # fmt: skip
    world.ingest([line.format(n=n).encode() for n in range(80)], "asterisk/master")
    codes.sweep(world.runtime)
    assert named(world) == {}
    codes.approve(world.runtime, ASKER, "account", "ayesha.khan")
    codes.sweep(world.runtime)
    assert named(world) == {("account", "ayesha.khan"): "approved"}


def test_what_is_named_outlives_the_key_and_is_named_before_it_ends(world: World) -> None:
    world.ingest([routed(n, who) for n, who in enumerate(people(60))])
    world.now = datetime(2026, 3, 31, 22, tzinfo=UTC)
    world.ingest([report(9, "+4915112345678", world.now - timedelta(hours=1))])  # vouches for the clock
    assert run_sweep(world.runtime) is not None
    assert named(world) == {("route", NAME): "shared"}
    world.now = datetime(2026, 4, 1, 1, tzinfo=UTC)
    assert run_sweep(world.runtime)
    assert {r["month"] for r in world.rows("originals")} == {"2026-03"}
    assert NAME in shown(world)
    assert "2025-03" not in codes.sweep(world.runtime)


def test_a_sweep_looks_again_only_at_what_has_changed(world: World) -> None:
    world.ingest([routed(1, "+923001234567")])
    assert codes.sweep_due(world.runtime) == {"2025-03": 0}
    assert codes.sweep_due(world.runtime) == {}
    codes.approve(world.runtime, ASKER, "route", NAME)
    world.now += timedelta(days=1)
    assert codes.sweep_due(world.runtime) == {"2025-03": 1}
    world.now = datetime(2026, 3, 30, 12, tzinfo=UTC)
    for n in (7, 8):
        world.ingest([routed(n, "+923001234567")])
        assert codes.sweep_due(world.runtime) == {"2025-03": 0}, "in its last days at every change"


def test_two_sweeps_at_once_name_it_once(world: World) -> None:
    world.ingest([routed(1, "+923001234567")])
    codes.approve(world.runtime, ASKER, "route", NAME)
    runtime, inner = world.runtime, []

    def find(there: Any) -> Any:
        if not inner:  # another one comes first
            inner.append(1)
            codes.sweep(world.runtime)
        return codes._found(warehouse, Month(2025, 3), codes._parts(runtime)[Month(2025, 3)],
                            codes.approved(runtime), there)  # fmt: skip

    warehouse = runtime.new_warehouse()
    assert table.name(warehouse, Month(2025, 3), world.now, find) == []
    assert named(world) == {("route", NAME): "approved"}
    with pytest.raises(FencedError):
        _always_late(world)


def _always_late(world: World) -> None:
    warehouse = world.runtime.new_warehouse()

    def late(there: Any) -> Any:
        number = (world.runtime.new_warehouse().table("codes").transaction("codes/2025-03") or 0) + 1
        world.runtime.new_warehouse().table("codes").commit([], {"codes/2025-03": number}, {})
        return [table.Named("route", f"~{number:016d}", "x")]

    table.name(warehouse, Month(2025, 3), world.now, late)


def test_a_crash_before_the_commit_leaves_it_to_the_next_sweep(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.ingest([routed(n, who) for n, who in enumerate(people(60))])
    with monkeypatch.context() as patch:
        patch.setattr(monthly, "write_files", lambda *_: (_ for _ in ()).throw(OSError("gone")))
        with pytest.raises(OSError, match="gone"):
            codes.sweep(world.runtime)
    assert named(world) == {}
    codes.sweep(world.runtime)
    assert named(world) == {("route", NAME): "shared"}


def test_what_is_not_named_is_shown_with_a_reason_and_told_to_the_audit_log(world: World) -> None:
    world.ingest([routed(1, "+923001234567"), routed(2, "+4479110000001")])
    (one,) = codes.listing(world.runtime, Asker("olga"), Month(2025, 3))
    assert (one.column, one.rows, one.subjects, one.text, one.why) == (
        "route",
        2,
        "fewer than 50",
        None,
        None,
    )
    with pytest.raises(InputError, match="case"):
        codes.listing(world.runtime, Asker("olga"), Month(2025, 3), show=True)
    (one,) = codes.listing(world.runtime, ASKER, Month(2025, 3), show=True)
    assert one.text == NAME
    codes.approve(world.runtime, ASKER, "route", NAME)
    said = [e["action"] for e in world.runtime.audit.entries()]
    assert said[-2:] == ["codes.show", "code.approve"]


def test_a_listed_code_arrives_as_it_is(tmp_path: Path) -> None:
    listed = tmp_path / "codes.txt"
    listed.write_text(f"# ours\nroute {NAME}\naccount Acme Retail Ltd\n")
    world = World(tmp_path / "w", codes=listed)
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    lines = [
        routed(1, "+923001234567", platform={"entityId": "Acme Retail Ltd"}),
        routed(2, "+4479110000001", "Route 66"),
    ]
    world.ingest(lines)
    rows = world.rows("metadata")
    assert [(r["route"], r["account"], r["redacted"]) for r in rows[:1]] == [(NAME, "Acme Retail Ltd", None)]
    assert rows[1]["route"].startswith("~")
    # Of the row's own subject it is withheld all the same.
    listed.write_text("route 923001234567\n")
    world.ingest([routed(3, "+923001234567", "923001234567")])
    assert all("923001234567" not in str(r["route"]) for r in world.rows("metadata"))


def test_whoever_is_listed_or_approved_by_mistake_is_not_named(tmp_path: Path) -> None:
    listed = tmp_path / "codes.txt"
    listed.write_text("route 923001234567\nroute x@example.com\n")
    world = World(tmp_path / "w", codes=listed)
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    world.ingest(
        [routed(1, "+923001234567", "923001234567"), routed(2, "x@example.com", "x@example.com"),
         routed(3, "Jane the first", "Jane the first")]
    )  # fmt: skip
    codes.approve(world.runtime, ASKER, "route", "Jane the first")
    assert codes.sweep(world.runtime) == {"2025-03": 0}
    assert shown(world) == shown(world, view="metadata")
    assert all(text.startswith("~") for text in shown(world))


def test_a_changed_file_is_read_again_and_a_wrong_one_changes_nothing(tmp_path: Path) -> None:
    file, now = tmp_path / "codes.txt", [0.0]
    file.write_text("route A b\n")
    listed = SiteFile(file, read_codes, lambda: now[0])
    assert listed() == {"route": frozenset({"A b"})}
    file.write_text("route A b\nnetwork C d\n")
    now[0] += 10
    assert listed()["network"] == {"C d"}
    for wrong in ("price 1\n", "route\n", f"route {'x' * 65}\n"):
        file.write_text(wrong)
        now[0] += 10
        assert listed()["network"] == {"C d"}
        with pytest.raises(ConfigurationError, match="line 1") as error:
            SiteFile(file, read_codes, lambda: 0.0)
        assert "xxx" not in str(error.value)
    file.unlink()
    now[0] += 10
    assert listed()["network"] == {"C d"}
    with pytest.raises(ConfigurationError, match="check that it is there"):
        SiteFile(file, read_codes, lambda: 0.0)


def test_the_commands_say_what_they_did(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.ingest([routed(1, "+923001234567")])
    monkeypatch.setenv("LETHE_ROOT", str(world.root))
    monkeypatch.setenv("LETHE_KEYS_DIR", str(world.keys))

    def run(*words: str) -> Any:
        done = CliRunner().invoke(app, ["--json", "codes", *words])
        assert done.exit_code == 0, done.output
        return json.loads(done.output)

    (row,) = run("list", "2025-03")
    assert (row["column"], row["rows"], row["stands_for"]) == ("route", 1, None)
    assert run("approve", "route", NAME) == {"column": "route", "approved": True}
