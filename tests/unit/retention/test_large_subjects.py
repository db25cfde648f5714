"""What an erasure and a copy look through of a person with very many records: as numbers, a page at a time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

import pyarrow as pa
import pytest
from retention_world import World, person, report

from lethe.schemas.position import Position
from lethe.tiers.commit import pages
from lethe.tiers.rights.erasure import erase, preview_erasure
from lethe.tiers.rights.search import Found, search, searching
from lethe.tiers.window.positions import WHERE, Positions
from lethe.tiers.window.records import open_parts

HER, HIM = "+923001234567", "+4915112345678"
WHEN = datetime(2025, 3, 9, 12, tzinfo=UTC)


def take_in(world: World, start: int, count: int) -> None:
    """Half of them are hers, half are of others and name her in what is kept of them."""
    numbers = range(start, start + count)
    world.ingest(
        report(n, HER if n % 2 else HIM, WHEN + timedelta(seconds=n), callbackData=f"for {HER} {n}")
        for n in numbers
    )


def looked_for(world: World) -> tuple[Found, int, int]:
    """What is found of her, how much memory that takes, and how much it took at most to find it."""
    maintenance = world.maintenance_context()
    (part,) = open_parts(maintenance.ring, world.now)
    looking = searching(maintenance.warehouse, person(HER))
    tracemalloc.start()
    try:
        found = search(maintenance.warehouse, part, looking)
        return found, *tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


def test_a_record_more_takes_a_few_numbers(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_PAGE_RECORDS", 50)
    world = make_world()
    take_in(world, 0, 400)
    few, _, little = looked_for(world)
    take_in(world, 400, 1_600)
    many, kept, more = looked_for(world)
    assert (len(few.records), len(few.mentioned), few.evidence) == (200, 200, 200)
    assert (len(many.records), len(many.entries), len(many.mentioned)) == (1_000, 1_000, 1_000)
    assert many.ids.num_rows >= 1_000
    assert kept < 100 * 2_000, "in sets of objects each takes more than 300 bytes"
    assert more < little + 400 * 1_600, "no more than a page of objects at a time"
    preview = preview_erasure(world.maintenance_context(), person(HER))
    assert (preview.total("identifiers"), preview.total("mentioned")) == (1_000, 1_000)
    erased = erase(world.maintenance_context(), person(HER))
    assert (erased.total("originals"), erased.total("mentioned")) == (1_000, 1_000)
    assert world.found(HER) == []
    assert len(world.found(HIM)) == 1_000
    assert not preview_erasure(world.maintenance_context(), person(HER)).months


def place(r: Random) -> Position:
    return Position(r.choice("ab"), r.randrange(2), r.randrange(30), r.choice((None, 0, 1, 2**31 - 1)))


@pytest.mark.parametrize("seed", range(12))
def test_what_is_among_positions_is_told_as_by_a_set(seed: int) -> None:
    r = Random(seed)
    mine, rows = [place(r) for _ in range(r.randrange(120))], [place(r) for _ in range(r.randrange(150))]
    found = Positions.each(mine)
    kinds = (pa.string(), pa.int32(), pa.int64(), pa.int32())
    table = pa.table(
        [pa.array([getattr(p, n) for p in rows], k) for n, k in zip(WHERE, kinds, strict=True)], names=WHERE
    )
    assert found.mask(table).to_pylist() == [p in set(mine) for p in rows]
    assert [p in found for p in rows] == [p in set(mine) for p in rows]
    assert "a/0/1" not in found
    for stream in "abc":
        first, last = sorted((r.randrange(30), r.randrange(30)))
        expected = {p for p in mine if (p.stream, p.partition) == (stream, 1) and first <= p.offset <= last}
        assert set(found.within(stream, 1, first, last)) == expected
    assert {(s, p): o.tolist() for s, p, o in found.offsets()} == {
        where: sorted({p.offset for p in mine if (p.stream, p.partition) == where})
        for where in {(p.stream, p.partition) for p in mine}
    }
    assert set(Positions.all([found, Positions.each(rows), Positions()])) == {*mine, *rows}
