"""The rights of the person: a copy, erasure, restriction."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta

import pytest
from retention_world import World, person, report

from lethe.tiers.ledger import reconcile
from lethe.tiers.rights.erasure import erase, preview_erasure
from lethe.tiers.rights.subject_export import as_files, build
from lethe.tiers.window.records import entries_of, open_parts

HER = "+923001234567"
HIM = "+4915112345678"
MARCH = datetime(2025, 3, 9, 12, tzinfo=UTC)


def traffic(world: World) -> None:
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    world.ingest(
        [
            report(1, HER, MARCH),
            report(2, HIM, MARCH),
            report(3, HER, MARCH + timedelta(days=2), callbackData="her own note"),
            b'{"messageId":"broken","to":"+92 300 1234567","sentAt":"never"}',
            b'{"messageId":"broken","to":"+4915112345678","sentAt":"never"}',
            b'{"messageId":"broken","to":"\\u002b92\\u0033001234567"',
        ]
    )


def all_entries(world: World) -> set[int]:
    maintenance = world.maintenance_context()
    found: set[int] = set()
    for part in open_parts(maintenance.ring, maintenance.clock()):
        positions = {reconcile_position(r) for r in world.rows("metadata")}
        found |= {p.offset for p in entries_of(maintenance.warehouse, part, positions)}
    return found


def reconcile_position(row: dict[str, object]) -> object:
    from lethe.tiers.window.lookup import position_of

    return position_of(row)


def test_erasure_takes_a_person_out_of_every_table_and_page(make_world: Callable[..., World]) -> None:
    world = make_world()
    traffic(world)
    token = world.tokens(HER, ["2025-03"])["2025-03"]
    before = set(world.paths("identifiers")) | set(world.paths("originals")) | set(world.paths("quarantine"))
    preview = preview_erasure(world.maintenance_context(), person(HER))
    counts = {
        "identifiers": 2,
        "originals": 2,
        "quarantine": 2,
        "mentioned": 0,
        "usage": 0,
        "evidence": 0,
        "held": 0,
        "holds": [],
    }
    assert preview.months == [{"month": "2025-03", "window_months": 12, **counts}]
    assert len(world.found(HER)) == 2, "a preview changes nothing"
    erased = erase(world.maintenance_context(), person(HER))
    assert (erased.total("identifiers"), erased.total("originals"), erased.total("quarantine")) == (2, 2, 2)
    assert world.found(HER) == []
    assert len(world.found(HIM)) == 1
    assert all_entries(world) == {1}, "his original still opens, hers are gone"
    assert world.holding(token) == []
    assert len(world.rows("metadata")) == 3, "the archive names nobody and stays"
    assert sum(r["sealed"] is not None for r in world.rows("quarantine")) == 1
    assert reconcile.check(world.runtime.warehouse) == [], "every offset stays accounted for"
    gone = {f["path"] for f in erased.files}
    assert gone <= before
    assert not gone & set(world.paths())


def test_erasing_again_finds_nothing(make_world: Callable[..., World]) -> None:
    world = make_world()
    traffic(world)
    first = erase(world.maintenance_context(), person(HER))
    assert first.certificate == 0
    again = erase(world.maintenance_context(), person(HER))
    assert (again.months, again.certificate) == ([], None)


def test_an_older_version_of_a_table_holds_no_erased_row(make_world: Callable[..., World]) -> None:
    from deltalake import DeltaTable

    world = make_world()
    traffic(world)
    version = DeltaTable(str(world.root / "identifiers")).version()
    erase(world.maintenance_context(), person(HER))
    with pytest.raises((OSError, FileNotFoundError)):
        DeltaTable(str(world.root / "identifiers"), version=version).to_pyarrow_dataset().to_table()


def test_workers_go_on_where_they_were_after_an_erasure(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.files = 100
    path = world.folder / "again.ndjson"
    path.write_bytes(b"\n".join(report(i, HER if i % 2 else HIM, MARCH) for i in range(10)) + b"\n")
    from lethe.operations.intake.ingest import ingest

    ingest(world.runtime, str(path), "infobip/sms-report")
    erase(world.maintenance_context(), person(HER))
    assert ingest(world.runtime, str(path), "infobip/sms-report").already == 10
    assert world.found(HER) == []
    assert len(world.rows("metadata")) == 10


def test_an_export_says_everything_and_names_nobody_else(make_world: Callable[..., World]) -> None:
    world = make_world()
    traffic(world)
    maintenance = world.maintenance_context()
    token = world.tokens(HER, ["2025-03"])["2025-03"].hex()

    def looks(tokens: Collection[str], records: Collection[str]) -> list[dict[str, str]]:
        assert token in tokens
        assert len(records) == 4  # two of hers, and two that were rejected
        return [{"time": "t", "who": "eve", "action": "lookup", "case": "F-1", "purpose": "fraud"}]

    copy = build(maintenance, world.settings.retention, person(HER), looks, world.now, names=True)
    export = {**copy, "records": list(copy["records"])}
    assert [r["record"].split("/")[2] for r in export["records"]] == ["2", "0"]
    newest = export["records"][0]
    assert newest["identifiers"] == [{"role": "recipient", "kind": "msisdn", "value": HER[1:]}]
    assert "her own note" in newest["kept_fields"][0]["text"]
    assert newest["identifiers_kept_until"] == "2026-04-01T00:00:00+00:00"
    assert newest["metadata_kept_until"] == "2036-01-01T00:00:00+00:00"
    assert [entry["who"] for entry in export["looked_at"]] == ["eve"]
    assert {"kind": "account", "name": "acme"} in export["recipients"]
    assert len(export["rejected_records"]) == 2
    assert HIM[1:] not in str(export)
    files = as_files(copy)
    assert json.loads(files["export.json"]) == json.loads(json.dumps(export))
    rows, others, looked = (
        list(csv.DictReader(io.StringIO(files[name].decode())))
        for name in ("records.csv", "other_records.csv", "looked_at.csv")
    )
    assert [r["account"] for r in rows] == ["acme", "acme"]
    assert {r["metadata_period"] for r in rows} == {"10 years following the year of the communication"}
    assert [r["reason"] for r in others] == [r["reason"] for r in export["rejected_records"]]
    assert [(r["who"], r["case"], r["purpose"]) for r in looked] == [("eve", "F-1", "fraud")]
    assert HIM[1:].encode() not in b"".join(files.values())
    assert "integrity_hash" not in str(export)
