"""What a hold keeps is read some at a time, however much it is, and each record once."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from retention_world import World, person

from lethe.schemas.position import Position
from lethe.tiers.holds._once import each_once
from lethe.tiers.holds.definition import Hold
from lethe.tiers.holds.holds import Holds
from lethe.tiers.holds.scope import Scope
from lethe.tiers.window.positions import Positions

MONTH = "2025-02.6"


def record(number: int, entries: int = 1) -> dict[str, Any]:
    value = {"form": "received", "value": "x" * 200}
    return {
        "record": f"cdr/0/{number}",
        "month": "2025-02",
        "metadata": {"stream": "cdr", "offset": number},
        "identifiers": [],
        "entries": [value] * entries,
    }


@pytest.fixture
def held(make_world: Callable[..., World]) -> tuple[Holds, Hold]:
    world = make_world()
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    holds = Holds(world.runtime.objects, world.runtime.ring)
    scope = Scope(person("+923001234567"))
    return holds, holds.place("court", "HC-1", datetime(2026, 3, 31, tzinfo=UTC), scope, world.now)


def put(held: tuple[Holds, Hold], records: list[dict[str, Any]], month: str = MONTH) -> None:
    holds, hold = held
    holds._put(hold, holds._ring.named(hold.key), month, records)


def peak(held: tuple[Holds, Hold]) -> tuple[int, int]:
    """How many records are read, and the most memory that took."""
    holds, hold = held
    tracemalloc.start()
    try:
        return sum(1 for _ in holds.records(hold)), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_ten_times_the_records_do_not_take_ten_times_the_memory(held: tuple[Holds, Hold]) -> None:
    for start in range(0, 2_000, 500):
        put(held, [record(n) for n in range(start, start + 500)])
    few, little = peak(held)
    for start in range(2_000, 20_000, 500):
        put(held, [record(n) for n in range(start, start + 500)])
    many, more = peak(held)
    assert (few, many) == (2_000, 20_000)
    assert more < little + 150 * (many - few), "a record takes more than 1,000 bytes"


def test_of_one_that_was_preserved_again_what_says_most_is_read(held: tuple[Holds, Hold]) -> None:
    holds, hold = held
    put(held, [record(1, 2), record(2, 1)])
    put(held, [record(2, 3), record(1, 1)], "2025-02.12")
    put(held, [{**record(1, 0), "metadata": None}, record(3)], "2025-02.archive")
    found = {r["record"]: len(r["entries"]) for r in holds.records(hold)}
    assert found == {"cdr/0/1": 2, "cdr/0/2": 3, "cdr/0/3": 1}
    assert {r["record"] for r in holds.records(hold, "2025-02.12")} == {"cdr/0/1", "cdr/0/2"}
    assert list(holds.records(hold, "2024-01.6")) == []


def test_of_two_that_say_the_same_the_first_is_read() -> None:
    some = [[{"record": "a", "n": 1}, {"record": "b", "n": 2}], [{"record": "a", "n": 3}], []]
    assert [r["n"] for r in each_once(lambda: iter(some), lambda _: 1)] == [1, 2]
    assert [r["n"] for r in each_once(lambda: iter(some), lambda r: r["n"])] == [2, 3]
    assert list(each_once(lambda: iter([]), lambda _: 1)) == []


def place(r: Random) -> Position:
    return Position(
        r.choice(("a", "b")), r.randrange(2), r.randrange(40), r.choice((None, None, 0, 1, 2**31 - 1))
    )


@pytest.mark.parametrize("seed", range(20))
def test_positions_are_a_set_whatever_is_done_with_them(seed: int) -> None:
    r = Random(seed)
    one, other = ([place(r) for _ in range(r.randrange(200))] for _ in range(2))
    mine, theirs = Positions.each(one), Positions.each(other)
    for found, expected in (
        (mine, set(one)),
        (mine | theirs, {*one, *other}),
        (mine & theirs, set(one) & set(other)),
        (mine - theirs, set(one) - set(other)),
        (mine | Positions(), set(one)),
        (mine - Positions(), set(one)),
        (Positions() & mine, set[Position]()),
    ):
        assert len(found) == len(expected)
        assert list(found) == sorted(
            expected, key=lambda p: (p.stream, p.partition, p.offset, -1 if p.index is None else p.index)
        )
        assert [p for some in found.chunks(7) for p in some] == list(found)
        assert bool(found) == bool(expected)


def test_a_million_positions_take_megabytes() -> None:
    """As objects in a set they take more than 250."""
    count, many = 1_000_000, 65_536
    tracemalloc.start()
    try:
        found = Positions.of(
            pa.table(
                [
                    pa.repeat(pa.scalar("cdr"), many),
                    pa.array([n % 3 for n in range(many)], pa.int32()),
                    pa.array(range(start, start + many), pa.int64()),
                    pa.nulls(many, pa.int32()),
                ],
                names=["stream", "partition", "offset", "index"],
            )
            for start in range(0, count, many)
        )
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) >= count
    assert kept < 14 * len(found)
    assert peak < 80 * len(found)
