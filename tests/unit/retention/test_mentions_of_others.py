"""A person named inside somebody else's record: found by an erasure, an export and a hold, in any spelling."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from retention_world import World, person, report

from lethe.schemas.subjects.addresses import normalise
from lethe.tiers.holds import scope as hold_scope
from lethe.tiers.holds.scope import Scope
from lethe.tiers.ledger import reconcile
from lethe.tiers.rights.erasure import Erased, erase, preview_erasure
from lethe.tiers.rights.subject_export import build
from lethe.tiers.window import lookup
from lethe.tiers.window.records import gather, open_parts

HER = "+923001234567"
HIM = "+4915112345678"
MARCH = datetime(2025, 3, 9, 12, tzinfo=UTC)
OUT_OF_SCOPE = {"mccMnc": "26201"}
STATUS = {"groupId": 3, "groupName": "DELIVERED", "id": 5, "name": "DELIVERED_TO_HANDSET"}

TEXTS: list[dict[str, Any]] = [
    {"callbackData": "order for 0300 1234567"},
    {"callbackData": '{"to":"+92-300-1234567"}'},
    {"bulkId": "b-923001234567"},
    {"message_id": "+923001234567"},
    {"message_id": "x%2B923001234567-again"},
    {"callbackData": "٩٢٣٠٠١٢٣٤٥٦٧"},
    {"status": {**STATUS, "description": "forwarded to tel:+923001234567"}},
]


def his_records(world: World, texts: list[dict[str, Any]], **more: Any) -> None:
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    world.ingest(
        [report(i, HIM, MARCH + timedelta(minutes=i), **text, **more) for i, text in enumerate(texts)]
    )


def kept(world: World) -> dict[int, list[dict[str, Any]]]:
    """The entries of every record, opened, by offset."""
    maintenance = world.maintenance_context()
    positions = {lookup.position_of(r) for r in world.rows("metadata")}
    found = [
        r
        for part in open_parts(maintenance.ring, maintenance.clock())
        for r in gather(maintenance.warehouse, part, positions)
    ]
    return {int(r["record"].split("/")[2]): r["entries"] for r in found}


def texts_of(world: World) -> dict[int, str]:
    from base64 import b64decode

    return {
        offset: b"".join(b64decode(e["value"]) for e in entries).decode()
        for offset, entries in kept(world).items()
    }


def count(found: Erased) -> int:
    return found.total("mentioned")


@pytest.mark.parametrize("text", TEXTS, ids=[next(iter(t)) + str(i) for i, t in enumerate(TEXTS)])
def test_a_field_of_somebody_else_that_names_the_person_is_taken_out(
    make_world: Callable[..., World], text: dict[str, Any]
) -> None:
    world = make_world()
    his_records(world, [{"callbackData": "his own note"}, text], **OUT_OF_SCOPE)
    before = texts_of(world)
    assert count(preview_erasure(world.maintenance_context(), person(HER))) == 1
    assert texts_of(world) == before, "a preview changes nothing"
    erased = erase(world.maintenance_context(), person(HER))
    assert (count(erased), erased.total("identifiers"), erased.total("originals")) == (1, 0, 0)
    assert erased.total("evidence") == 0
    assert count(preview_erasure(world.maintenance_context(), person(HER))) == 0
    after = texts_of(world)
    assert after[0] == before[0]
    field = {"message_id": "messageId", "status": "status.description"}.get(
        next(iter(text)), next(iter(text))
    )
    left = json.loads(after[1])
    assert left == {k: v for k, v in json.loads(before[1]).items() if k != field}, (
        "all else of his record stays"
    )
    assert len(world.found(HIM)) == 2
    assert world.found(HER) == []
    assert reconcile.check(world.runtime.warehouse) == []
    assert not {f["path"] for f in erased.files} & set(world.paths())


def test_a_message_id_that_is_her_number_leads_nowhere_any_more(make_world: Callable[..., World]) -> None:
    world = make_world()
    his_records(world, [{"message_id": HER}], **OUT_OF_SCOPE)
    assert len(world.found(HER)) == 1, "found by the message id"
    erase(world.maintenance_context(), person(HER))
    assert world.found(HER) == []
    assert [r["message_token"] for r in world.rows("identifiers")] == [None]


def test_an_original_of_somebody_else_that_names_the_person_goes_whole(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    his_records(world, [{"callbackData": "his own note"}, {"callbackData": "order for 0300 1234567"}])
    forms = {offset: [e["form"] for e in entries] for offset, entries in kept(world).items()}
    assert forms == {0: ["received"], 1: ["received"]}
    assert preview_erasure(world.maintenance_context(), person(HER)).total("evidence") == 1
    erased = erase(world.maintenance_context(), person(HER))
    assert (count(erased), erased.total("evidence")) == (1, 1)
    assert {o: len(e) for o, e in kept(world).items()} == {0: 1, 1: 0}
    assert len(world.found(HIM)) == 2
    assert sum(r["integrity_hash"] is not None for r in world.rows("metadata")) == 2, (
        "both rows are proven as before"
    )


def test_what_only_looks_like_it_stays(make_world: Callable[..., World]) -> None:
    world = make_world()
    his_records(
        world,
        [{"callbackData": "order 817790313001234567"}, {"callbackData": "+49 300 1234567"}],
        **OUT_OF_SCOPE,
    )
    before = world.paths()
    assert preview_erasure(world.maintenance_context(), person(HER)).months == []
    assert erase(world.maintenance_context(), person(HER)).certificate is None
    assert world.paths() == before


def test_a_word_that_anybody_may_use_takes_nothing_from_others(make_world: Callable[..., World]) -> None:
    world = make_world()
    his_records(world, [{"callbackData": "anonymous call of 1001"}], **OUT_OF_SCOPE)
    assert normalise("anonymous") is None, "that is nobody"
    assert erase(world.maintenance_context(), person("1001")).certificate is None


def test_a_hold_on_his_record_keeps_what_an_erasure_takes_out(make_world: Callable[..., World]) -> None:
    world = make_world()
    his_records(world, [{"callbackData": "order for 0300 1234567"}], **OUT_OF_SCOPE)
    holds = world.maintenance_context().holds
    hold = holds.place(
        "Court", "HC-1", datetime(2026, 1, 1, tzinfo=UTC), Scope(subjects=person(HIM)), world.now
    )
    assert preview_erasure(world.maintenance_context(), person(HER)).months[0]["holds"] == [hold.id]
    erased = erase(world.maintenance_context(), person(HER))
    assert erased.total("held") == 1
    (record,) = world.maintenance_context().holds.records(hold)
    assert record["entries"]
    assert "0300" not in str(texts_of(world))


@pytest.mark.parametrize("until", [None, MARCH], ids=["any time", "before it"])
def test_a_hold_on_her_keeps_his_record_that_names_her(
    make_world: Callable[..., World], until: datetime | None
) -> None:
    world = make_world()
    his_records(
        world, [{"callbackData": "his own"}, {"callbackData": "order for 0300 1234567"}], **OUT_OF_SCOPE
    )
    scope = Scope(subjects=person(HER), until=until)
    hold = world.maintenance_context().holds.place(
        "Court", "HC-1", datetime(2026, 1, 1, tzinfo=UTC), scope, world.now
    )
    world.now = datetime(2026, 4, 1, tzinfo=UTC)
    world.sweep(forced=True)
    records = list(world.maintenance_context().holds.records(hold))
    assert [r["record"].split("/")[2] for r in records] == ([] if until else ["1"])
    query = lookup.Query(person(HER), HER)
    assert [hold_scope.held_roles(r, query) for r in records] == ([] if until else [["mentioned"]])


def test_an_export_names_the_records_of_others_and_shows_nothing_of_them(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    his_records(
        world, [{"callbackData": "his own"}, {"callbackData": "order for 0300 1234567"}], **OUT_OF_SCOPE
    )
    export = build(
        world.maintenance_context(), world.settings.retention, person(HER), lambda *_: [], world.now
    )
    assert list(export["records"]) == []
    (mention,) = export["mentioned_in"]
    assert mention["record"].split("/")[2] == "1"
    assert mention["identifiers_kept_until"] == "2026-04-01T00:00:00+00:00"
    assert HIM[1:] not in str(export)


def test_her_own_records_are_not_counted_twice(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    world.ingest([report(1, HER, MARCH, callbackData="mine: 0300 1234567", **OUT_OF_SCOPE)])
    erased = erase(world.maintenance_context(), person(HER))
    assert (erased.total("identifiers"), erased.total("originals"), count(erased)) == (1, 1, 0)
