"""A certificate says of every place whether what it certifies is gone, held, or not reached until when."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from retention_world import World, person, report

from lethe.operations.retention.sweep import maintenance_context
from lethe.operations.settings import Settings
from lethe.schemas.arrow import TABLES
from lethe.schemas.errors import TransientError
from lethe.tiers.certificates import certificates
from lethe.tiers.certificates.places import PLACES, registered
from lethe.tiers.holds.holds import Holds
from lethe.tiers.holds.scope import Scope
from lethe.tiers.rights import restrictions
from lethe.tiers.rights.erasure import erase

HER, HIM = "+923001234567", "+4915112345678"
MARCH = datetime(2025, 3, 9, 12, tzinfo=UTC)
ROOT = Path(__file__).parents[3]


def folders_in_code() -> set[str]:
    """The folders beside the tables that the product names: texts `_name`, or `_name/...`."""
    found: set[str] = set()
    for room in ("tiers", "operations", "keys", "integrity", "streams"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
                    text = node.value.value
                    if isinstance(text, str) and text.startswith("_") and text.strip("_"):
                        found.add(text.partition("/")[0])
    return found


def test_every_table_and_every_folder_is_registered() -> None:
    assert set(TABLES) <= registered()
    named = {folder for folder in folders_in_code() if folder.isidentifier()}
    assert {"_holds", "_restrictions", "_certificates", "_forgetting"} <= named
    assert named - registered() - {"_value", "_batch"} == set()


def reach_of(world: World, number: int | None) -> dict[str, dict[str, object]]:
    assert number is not None
    said = certificates.read(world.runtime.objects, number)["certificate"]["reach"]
    assert [one["place"] for one in said] == [place.name for place in PLACES]
    assert all(one.get("until") for one in said if one["state"] == "not reached")
    return {one["place"]: one for one in said}


def test_a_certificate_says_what_the_broker_keeps_of_each_source_or_that_it_was_not_asked(
    make_world: Callable[..., World],
) -> None:
    world = make_world(sources={"cdr": "infobip/sms-report"})
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    runtime = world.runtime
    runtime.warehouse.commit(
        [world.prepare(runtime, [report(1, HER, MARCH), report(2, HIM, MARCH)])], runtime.ring
    )
    asked: list[list[str]] = []

    def broker(_settings: Settings, places: Collection[str]) -> dict[str, dict[str, int | None]]:
        asked.append(sorted(places))
        if len(asked) > 1:
            raise TransientError("the broker does not answer")
        return {"cdr/0": {"earliest_offset": 17, "retention_ms": 604_800_000}}

    asking = replace(runtime, topics=broker)
    first = reach_of(world, erase(maintenance_context(asking), person(HER)).certificate)["source topics"]
    assert first["kept"] == {"cdr/0": {"earliest_offset": 17, "retention_ms": 604_800_000}}
    assert first["state"] == "not reached"
    second = reach_of(world, erase(maintenance_context(asking), person(HIM)).certificate)["source topics"]
    assert second["kept"] == {"cdr/0": "not asked"}
    assert asked == [["cdr/0"], ["cdr/0"]]


def test_certificates_know_their_reach(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    world.ingest([report(1, HER, MARCH), report(2, HIM, MARCH)])
    runtime = world.runtime
    review = world.now + timedelta(days=60)
    hold = Holds(runtime.objects, runtime.ring).place("Court", "C-1", review, Scope(person(HER)), world.now)
    restrictions.place(runtime.objects, runtime.ring, world.settings.retention, person(HIM), world.now)
    erased = reach_of(world, erase(world.maintenance_context(), person(HER)).certificate)
    assert erased["window tables"]["state"] == "gone"
    assert erased["records preserved for holds"] == {
        "place": "records preserved for holds", "state": "held", "holds": [hold.id],
    }  # fmt: skip
    assert erased["backups of the warehouse"]["state"] == "not reached"
    (source,) = erased["source topics"]["topic_partitions"]  # type: ignore[misc]
    assert source.startswith("file-")
    assert erased["source topics"]["kept"] == {source: "not asked"}
    world.now = datetime(2026, 4, 1, tzinfo=UTC)
    (outcome,) = world.sweep(forced=True)
    ended = reach_of(world, outcome.certificate)
    assert ended["records preserved for holds"]["holds"] == [hold.id], "preserved by the erasure, before"
    assert ended["backups of the warehouse"]["state"] == "gone"
    assert ended["copies of the key directory"]["state"] == "not reached"
    there = {path.partition("/")[0] for path in world.paths()}
    assert there <= registered(), "a store that nobody has registered"
