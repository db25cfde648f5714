"""Many people are erased at once: each file is written anew once, and it is accounted for one by one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from retention_world import World, report

from lethe.operations.asker import Asker
from lethe.operations.compact import Asked, compact
from lethe.operations.rights import erase
from lethe.schemas.errors import InputError
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.store.objects import LocalObjects

EVE = Asker.of("eve", "DSR-9", None)
PEOPLE = [f"+92300{n:07d}" for n in range(1_000_000, 1_000_120)]
WHEN = datetime(2025, 3, 9, 12, tzinfo=UTC)


def filled(make_world: Callable[..., World]) -> World:
    """120 people with two records each, in as many files as merges leave; one is named in a record of another."""
    world = make_world()
    for part in range(2):
        lines = [report(part * 200 + n, to, WHEN + timedelta(minutes=n)) for n, to in enumerate(PEOPLE)]
        world.ingest(lines)
    world.ingest([report(900, PEOPLE[119], WHEN, callbackData=f"call back {PEOPLE[3]}")])
    compact(world.runtime, Asked(whole=True))
    return world


def test_each_touched_file_is_written_once(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = filled(make_world)
    gone, left = PEOPLE[:110], PEOPLE[110:]
    window = world.runtime.warehouse.window
    touched = sum(f.size for name in ("identifiers", "originals") for f in files_of(window[name]))
    written: list[int] = []
    put = LocalObjects.put

    def counting(self: LocalObjects, path: str, data: bytes) -> None:
        written.append(len(data) if path.endswith(".parquet") else 0)
        put(self, path, data)

    monkeypatch.setattr(LocalObjects, "put", counting)
    preview = erase.preview_all(world.runtime, EVE, gone)
    assert (preview.total("identifiers"), sum(written)) == (220, 0)
    erased = erase.erase_all(world.runtime, EVE, gone)
    assert (erased.total("identifiers"), erased.total("mentioned"), erased.certificate) == (220, 1, 0)
    assert 0 < sum(written) <= 1.2 * touched
    assert [len(world.found(to)) for to in gone] == [0] * 110
    assert [len(world.found(to)) for to in left] == [2] * 9 + [3]
    entries = [e for e in world.runtime.audit.entries() if e["action"].startswith("erase")]
    assert [e["action"] for e in entries] == ["erase.preview"] * 110 + ["erase"] * 110 + ["erase.done"] * 110
    assert len({tuple(e["subjects"]) for e in entries}) == 110, "an entry is about one person"
    assert {e["people"] for e in entries if e["action"] == "erase.done"} == {110}
    assert not erase.erase_all(world.runtime, EVE, gone).found
    assert len(world.rows("metadata")) == 241


def test_a_list_that_is_empty_or_too_long_changes_nothing(make_world: Callable[..., World]) -> None:
    world = filled(make_world)
    for people in ([], ["+923001000000"] * 10_001, [*PEOPLE, " "]):
        with pytest.raises(InputError):
            erase.erase_all(world.runtime, EVE, people)
    assert len(world.found(PEOPLE[0])) == 2
    assert not [e for e in world.runtime.audit.entries() if e["action"].startswith("erase")]
