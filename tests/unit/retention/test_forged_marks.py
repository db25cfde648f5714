"""Who writes the warehouse lays down marks and journals: no live month is refused, deleted or certified by them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import deltalake
import pytest
from retention_world import World, report

from lethe.keys.files import make_directories
from lethe.keys.ring import KeyInfo
from lethe.operations.asker import Asker
from lethe.operations.keys import give_up
from lethe.operations.keys.check import check_keys
from lethe.operations.keys.migrate import migrate
from lethe.schemas.errors import IntegrityError, LetheError
from lethe.schemas.retention.calendar import Month
from lethe.tiers.certificates import certificates
from lethe.tiers.certificates.journal import Journal
from lethe.tiers.ledger import reconcile

PAKISTANI = "+923001234567"
APRIL = Month(2025, 4)
KEY = "2025-04.w12"
BOB = Asker.of("bob", "case-1", "it is lost")


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    world = make_world()
    world.now = datetime(2025, 4, 10, 12, tzinfo=UTC)
    world.ingest([report(n, PAKISTANI, APRIL.start() + timedelta(days=n)) for n in range(1, 4)])
    return world


def lay(world: World, path: str, content: bytes = b"{}") -> Path:
    file = world.root / path
    make_directories(file.parent)
    file.write_bytes(content)
    return file


def info(world: World) -> KeyInfo:
    (found,) = [i for i in world.runtime.ring.list(world.now) if i.key_id == KEY]
    return found


MARKS = [f"_keys/{KEY}.destroyed.json", f"_keys/{KEY}.g0.given-up", f"_keys/{KEY}.g7.given-up"]


@pytest.mark.parametrize("mark", MARKS)
def test_a_marked_month_goes_on_and_is_named(world: World, mark: str) -> None:
    lay(world, mark)
    assert len(world.found(PAKISTANI)) == 3
    world.ingest([report(9, PAKISTANI, world.now - timedelta(hours=1))])
    assert len(world.found(PAKISTANI)) == 4
    world.sweep(forced=True)
    assert len(world.found(PAKISTANI)) == 4
    assert info(world).marked
    (said,) = [r for r in check_keys(world.runtime.ring, world.now) if r.key_id == KEY]
    assert said.opens
    assert "which nobody did" in said.trouble
    with pytest.raises(LetheError, match="is marked as destroyed or given up"):
        migrate(world.runtime, BOB, "local")  # the old provider could be switched off, with this key in it


@pytest.mark.parametrize("mark", MARKS)
def test_no_mark_of_a_live_month_explains_rows_that_are_gone(world: World, mark: str) -> None:
    lay(world, mark)
    assert reconcile.check(world.runtime.warehouse) == []
    deltalake.DeltaTable(str(world.root / "identifiers")).delete("month = '2025-04'")
    assert reconcile.check(world.runtime.warehouse)


@pytest.mark.parametrize("generation", [0, 7])
def test_a_journal_laid_down_gives_no_month_up(world: World, generation: int) -> None:
    """A sweep goes on with what was begun; it must not delete a live month, and sign that it was lost, for that."""
    work = f"{KEY}.given-up.{generation}"
    said = {"lost": world.now.isoformat(), "why": "there is no such key in local"}
    journal = Journal.open(world.runtime.objects, work, world.now)
    journal.note("loss", [said])
    for _ in range(2):
        with pytest.raises(IntegrityError, match="nobody has begun with this key directory"):
            world.sweep(forced=True)
    assert len(world.found(PAKISTANI)) == 3
    with pytest.raises(LetheError, match="open: nothing is lost"):
        give_up.give_up(world.runtime, BOB, KEY, "it is lost")
    assert len(world.found(PAKISTANI)) == 3
    assert list(certificates.every(world.runtime.objects)) == []
    journal.close()
    world.sweep(forced=True)
    assert len(world.found(PAKISTANI)) == 3


def test_a_month_that_was_destroyed_is_not_brought_back_by_its_wrapped_key(world: World) -> None:
    wrapped = (world.root / f"_keys/{KEY}.json").read_bytes()
    world.now = datetime(2026, 5, 2, tzinfo=UTC)
    world.sweep(forced=True)
    lay(world, f"_keys/{KEY}.json", wrapped)
    (world.keys / "latest-time").unlink()
    world.now = datetime(2025, 4, 20, tzinfo=UTC)  # and the clock is set back, its memory removed
    assert not info(world).marked
    assert world.found(PAKISTANI) == []
