"""What a hold keeps can be produced: records, originals, evidence and what was gone, inside the window and after it."""

from __future__ import annotations

import csv
import hashlib
import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from retention_world import World, person, report

from lethe.operations.asker import Asker
from lethe.operations.proof.evidence import check
from lethe.operations.proof.signer import load_signer
from lethe.operations.retention import hold
from lethe.operations.retention.certificates import verify
from lethe.operations.retention.hold_export import export
from lethe.operations.rights import restrict
from lethe.operations.window.lookup import lookup_held
from lethe.schemas.errors import InputError, LetheError
from lethe.tiers.rights.erasure import erase

HER = "+923001234567"
HIM = "+4915112345678"
OTHER = "+923219876543"
FEBRUARY = datetime(2025, 2, 9, 12, tzinfo=UTC)
MARCH = datetime(2025, 3, 9, 12, tzinfo=UTC)
EVE = Asker.of("eve", "HC-7", "order of the court")
LAW = Asker.of("eve", "HC-7", "order of the court", "section 5")


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    world = make_world()
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    world.ingest(
        [report(0, OTHER, FEBRUARY), report(1, HER, MARCH), report(2, HIM, MARCH), report(3, HER, MARCH, account="x"),
         b'{"messageId":"broken","to":"923001234567","sentAt":"never","platform":{"entityId":"acme"}}']
    )  # fmt: skip
    erase(world.maintenance_context(), person(OTHER))
    world.now += timedelta(hours=1)
    review = world.now + timedelta(days=900)
    hold.place(world.runtime, EVE, hold.Order("High Court", "HC-7", review, accounts=("acme",)))
    return world


def read(folder: Path) -> tuple[dict[str, object], list[dict[str, object]]]:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    written = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert written == {"manifest.json", *manifest["files"]}
    assert all(stat.S_IMODE(p.stat().st_mode) & 0o077 == 0 for p in folder.rglob("*"))
    return manifest, [json.loads(line) for line in (folder / "records.ndjson").read_bytes().splitlines()]


@pytest.mark.parametrize("when", ["inside the window", "erased", "after the window"])
def test_everything_a_hold_keeps_is_produced(world: World, tmp_path: Path, when: str) -> None:
    if when == "erased":
        erase(world.maintenance_context(), person(HER))
    if when == "after the window":
        world.now = datetime(2026, 4, 2, tzinfo=UTC)
        world.sweep(forced=True)
    folder = tmp_path / "out"
    done = export(world.runtime, EVE, "HC-7", folder)
    manifest, records = read(folder)
    # The February record of the account is in the archive, its person was erased before: it has no original left.
    assert (done.withheld, done.gone) == (0, 1)
    assert manifest["counts"]["records"] == done.records == len(records)  # type: ignore[index]
    mine = {r["record"].split("/")[2]: r for r in records}  # type: ignore[attr-defined]
    assert {"1", "2", "4"} <= set(mine)
    assert "3" not in mine, "of another account"
    assert mine["1"]["parties"] == [{"role": "recipient", "kind": "msisdn", "value": HER[1:]}]
    assert (
        json.loads((folder / f"originals/{mine['1']['record'].replace('/', '@')}").read_bytes())["to"] == HER
    )
    assert b"broken" in (folder / f"originals/{mine['4']['record'].replace('/', '@')}").read_bytes()
    # The evidence is checked as a stranger would: with the original, though the month's keys may be gone.
    signer = load_signer(world.keys)
    assert signer is not None
    keys = [str(k) for k in signer.history.keys]
    evidence = sorted((folder / "evidence").iterdir())
    assert evidence
    assert len(evidence) == done.evidence
    proven = check((folder / f"evidence/{mine['1']['record'].replace('/', '@')}.json").read_bytes(), keys)
    assert any("original" in line for line in proven.summary)
    assert proven.original is not None
    for path in (folder / "gone").iterdir():
        verify(path.read_bytes(), signer.history.keys)
    rows = list(csv.DictReader((folder / "records.csv").read_text().splitlines()))
    assert len(rows) == len(records)
    entries = [e for e in world.runtime.audit.entries() if str(e["action"]).startswith("hold.export")]
    assert [e["action"] for e in entries] == ["hold.export", "hold.export.told", "hold.export.done"]
    assert entries[1]["subjects"], "whoever is told of can be told so"
    assert entries[2]["manifest"] == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    assert HER[1:] not in json.dumps(entries)


def test_what_was_done_on_the_platform_stands_in_the_table(world: World, tmp_path: Path) -> None:
    record = {"timestamp": MARCH.isoformat(), "account_id": "acme-4711", "user_id": "jane.doe",
              "action": "api_key.create", "method": "POST", "path": "/sms/3/logs", "result": "ok"}  # fmt: skip
    world.ingest([json.dumps(record).encode()], "platform/activity")
    review = world.now + timedelta(days=60)
    hold.place(world.runtime, EVE, hold.Order("High Court", "HC-9", review, people=("jane.doe",)))
    export(world.runtime, EVE, "HC-9", tmp_path / "out")
    (row,) = csv.DictReader((tmp_path / "out" / "records.csv").read_text().splitlines())
    done = ("account", "action", "method", "path", "status")
    assert [row[name] for name in done] == ["acme-4711", "api_key.create", "POST", "/sms/3/logs", "ok"]


def test_who_is_restricted_is_withheld_but_for_a_reason_of_law(world: World, tmp_path: Path) -> None:
    restrict.restrict(world.runtime, EVE, HER)
    done = export(world.runtime, EVE, "HC-7", tmp_path / "out")
    assert done.withheld == 2  # one record of hers and the rejected one
    assert not [
        p for p in (tmp_path / "out").rglob("*") if p.is_file() and HER[1:].encode() in p.read_bytes()
    ]
    assert export(world.runtime, LAW, "HC-7", tmp_path / "law").withheld == 0


def test_it_needs_a_reason_a_hold_and_a_new_folder(world: World, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        export(world.runtime, Asker.of("eve"), "HC-7", tmp_path / "a")
    with pytest.raises(LetheError, match="no hold in force"):
        export(world.runtime, EVE, "HC-8", tmp_path / "a")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(InputError, match="new one"):
        export(world.runtime, EVE, "HC-7", tmp_path / "full")
    assert not [e for e in world.runtime.audit.entries() if str(e["action"]).startswith("hold.export")]


def test_a_look_up_of_an_account_in_its_hold_lists_all(world: World) -> None:
    def found(text: str, asker: Asker = EVE) -> set[str]:
        return {r["record"].split("/")[2] for r in lookup_held(world.runtime, asker, text, "HC-7").records}

    live = found("acme")
    assert {"1", "2"} <= live
    assert found("x") == set(), "an account that the hold does not cover"
    erase(world.maintenance_context(), person(HER))
    assert found("acme") == live
    world.now = datetime(2026, 4, 2, tzinfo=UTC)
    world.sweep(forced=True)
    assert found("acme") == live
    restrict.restrict(world.runtime, EVE, HIM)
    assert found("acme") == live - {"2"}
    assert found("acme", LAW) == live
