"""Counts that never count too little, numbers of keys, and sums of charges, each against plain counting."""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from lethe.operations.detection import _counts
from lethe.operations.detection._counts import Sums, distinct, starts
from lethe.operations.detection._hashed import FULL, Few, Index, Least, Sketch, mixed
from lethe.operations.detection._pattern import parts_of
from lethe.tiers.detection import _charges
from lethe.tiers.detection._charges import Charges
from lethe.tiers.detection._places import Codes, Ends


def test_a_sketch_counts_at_least_what_came_and_stops_when_it_is_full() -> None:
    chance = np.random.default_rng(1)
    some = chance.integers(0, 5_000, 60_000).astype(np.uint64)
    one = np.full(3 * FULL, 99, np.uint64)  # in one batch as many as would run over
    sketch = Sketch(1)
    for batch in (some, one, one, one):
        sketch.add(batch, batch + 7)
    wanted = Counter(some.tolist())
    keys = np.array(sorted(wanted), np.uint64)
    counts = sketch.counts(keys, keys + 7)
    assert (counts >= np.minimum([wanted[k] for k in keys.tolist()], FULL)).all()
    assert (counts == [wanted[k] for k in keys.tolist()]).mean() > 0.98
    assert sketch.counts(one[:1], one[:1] + 7)[0] >= FULL


@pytest.mark.parametrize("keys", [4_000, 300_000])
def test_few_are_counted_by_hash_and_hour_and_never_too_little(keys: int) -> None:
    chance = np.random.default_rng(keys)
    few = Few(1)
    names = chance.integers(0, 1 << 63, keys).astype(np.uint64)
    names[0] = np.uint64((1 << 64) - 1)
    drawn = np.minimum(chance.zipf(1.3, 200_000) - 1, keys - 1)
    hours = chance.integers(0, 744, 200_000).astype(np.int32)
    hours[:50_000] = 100
    for at in range(0, 200_000, 30_000):
        few.add(names[drawn[at : at + 30_000]], hours[at : at + 30_000])
    wanted = Counter(zip(drawn.tolist(), hours.tolist(), strict=True))
    asked = np.array([key for key, _ in wanted]), np.array([hour for _, hour in wanted], np.int32)
    counts = few.counts(names[asked[0]], asked[1])
    least = np.minimum(list(wanted.values()), Few.MOST)
    assert (counts >= least).all()
    assert (counts == least).mean() > 0.75
    assert Few.MOST in least
    assert counts.max() == Few.MOST


def test_the_least_of_a_key_is_it_or_less() -> None:
    chance = np.random.default_rng(5)
    keys = np.unique(chance.integers(0, 1 << 60, 5_000).astype(np.uint64))
    numbers = chance.integers(20, 90_000, len(keys))
    least = Least(keys, numbers, 99_999)
    found = least.of(keys)
    assert (found <= numbers).all()
    assert (found == numbers).mean() > 0.7
    assert Least(keys[:0], numbers[:0], 99_999).of(keys).tolist() == [99_999] * len(keys)


def test_sums_of_keys_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_counts, "_WAITING", 100)
    chance = np.random.default_rng(6)
    sums, wanted = Sums(["key"]), Counter[int]()
    for _ in range(20):
        keys = chance.integers(1 << 63, (1 << 63) + 200, 300, np.uint64)
        sums.add_keys(keys)
        wanted.update(keys.tolist())
    assert dict(sums.total().iter_rows()) == wanted


def test_keys_are_numbered_in_the_order_they_come_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Index, "_FIRST", 3)
    chance = np.random.default_rng(2)
    index = Index(40_000)
    known: dict[int, int] = {}
    for _ in range(20):
        keys = chance.integers(1, 30_000, 4_000).astype(np.uint64) * np.uint64(1 << 30)
        ids = index.ids(keys)
        assert ids is not None
        for key, found in zip(keys.tolist(), ids.tolist(), strict=True):
            assert known.setdefault(key, found) == found
    assert sorted(known.values()) == list(range(len(index)))
    assert [known[k] for k in index.keys.tolist()] == list(range(len(index)))


def test_more_keys_than_there_is_room_for_are_told() -> None:
    index = Index(10)
    assert index.ids(np.arange(1, 11, dtype=np.uint64)) is not None
    assert not index.full
    assert index.ids(np.arange(5, 12, dtype=np.uint64)) is None
    assert index.full


def test_halves_of_a_part_are_the_part() -> None:
    numbers = np.random.default_rng(3).integers(1, 10**15, 20_000).astype(np.uint64)
    for part in [*parts_of(1), *parts_of(3)]:
        halves = [half.takes(numbers) for half in part.halves()]
        assert ((halves[0] ^ halves[1]) == part.takes(numbers)).all()
        assert not (halves[0] & halves[1]).any()
        assert halves[0].sum() > 1_000
    assert sum(part.takes(numbers).sum() for part in parts_of(3)) == len(numbers)


def test_runs_and_different_values() -> None:
    assert distinct(np.array([5, 1, 5, 2, 1])).tolist() == [1, 2, 5]
    assert distinct(np.zeros(0, np.int64)).tolist() == []
    assert starts(np.array([1, 1, 2, 2]), np.array([0, 0, 0, 1])).tolist() == [0, 2, 3]
    assert starts(np.zeros(0)).tolist() == []
    assert mixed([np.array([1, 2])], 4).max() < 16


@pytest.mark.parametrize("again", [1_000_000, 1_000, 30])
def test_records_are_charged_as_often_as_they_are_added(monkeypatch: pytest.MonkeyPatch, again: int) -> None:
    monkeypatch.setattr(_charges, "MOST_HELD", again)
    draw = random.Random(again)
    rows = 5_000
    prices = [
        None if draw.random() < 0.2 else Decimal(draw.randrange(10**18 - 1)).scaleb(-6) for _ in range(rows)
    ]
    archive = pa.record_batch(
        {
            "stream": pa.array(["a"] * rows).dictionary_encode(), "partition": pa.array([0] * rows, pa.int32()),
            "offset": pa.array(range(rows), pa.int64()), "index": pa.nulls(rows, pa.int32()),
            "charge": pa.array(prices, pa.decimal128(18, 6)),
        }
    )  # fmt: skip
    codes = Codes({("a", 0): Ends(0, rows - 1, 1)}, rows)
    places = codes.places(archive, make=True)
    charges = Charges(
        codes, lambda look: [look(archive.slice(at, 700)) for at in range(0, rows, 700)] and None
    )
    wanted: dict[int, Decimal] = {}
    for _ in range(10):
        chosen = [draw.randrange(rows // 2) for _ in range(300)]  # some twice, and some of a batch before
        groups = [draw.randrange(7) for _ in chosen]
        charges.add(places[chosen], np.array(groups))
        for at, group in zip(chosen, groups, strict=True):
            if (price := prices[at]) is not None:
                wanted[group] = wanted.get(group, Decimal(0)) + price
    assert charges.sums(9) == [wanted.get(group) for group in range(9)]
