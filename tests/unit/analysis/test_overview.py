"""Counts side by side, the week's heat map, and bursts: planted ones are found, chance is left alone."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lethe.operations.analysis import overview
from lethe.operations.analysis.communications import SCHEMA

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday


def frame(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame([{**dict.fromkeys(SCHEMA), **row} for row in rows], SCHEMA, orient="row")


def at(target: int, hours: float, **more: object) -> dict[str, object]:
    return {"target": target, "time": START + timedelta(hours=hours), "record": f"s/0/{target}", **more}


def test_first_and_last_seen_of_every_target() -> None:
    events = frame(at(1, 0, status_group="DELIVERED"), at(1, 30, status_group="EXPIRED"))
    first, second = overview.seen(events, 2)
    assert (first.count, first.days, first.delivered) == (2, 2, 0.5)
    assert (first.first, first.last) == (START, START + timedelta(hours=30))
    assert (second.count, second.first, second.delivered) == (0, None, None)


def test_the_matrix_begins_with_what_most_targets_share() -> None:
    events = frame(
        *(at(1, n, account="only") for n in range(5)),
        at(1, 1, account="both"),
        at(2, 2, account="both"),
        at(2, 3),
    )
    found = overview.matrix(events, 3, "account")
    assert [(r.value, r.counts, r.total, r.shared) for r in found.rows] == [
        ("both", (1, 1, 0), 2, 2),
        ("only", (5, 0, 0), 5, 1),
    ]
    assert overview.matrix(events, 3, "account", most=1).more == 1


def test_the_heat_map_counts_every_communication_once() -> None:
    counts = overview.heat(frame(at(1, 0), at(2, 0.5), at(1, 25), at(1, 24 * 7 - 1)))
    assert (counts[0][0], counts[1][1], counts[6][23]) == (2, 1, 1)
    assert sum(map(sum, counts)) == 4


@given(st.integers(0, 60), st.floats(0.001, 40))
def test_the_tail_is_what_summing_says(count: int, mean: float) -> None:
    rest = math.fsum(
        math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count, count + 400)
    )
    assert overview.poisson_tail(count, mean) == pytest.approx(rest, rel=1e-9, abs=1e-12)


def test_a_planted_burst_is_found_with_its_hour() -> None:
    quiet = [at(1, 7 * n) for n in range(100)]
    burst = [at(1, 240 + n / 20) for n in range(12)]
    (found,) = overview.bursts(frame(*quiet, *burst))
    assert (found.target, found.hour) == (1, START + timedelta(hours=240))
    assert found.count >= 12
    assert found.probability < overview.LEVEL / found.tests


def test_nothing_but_a_burst_is_a_burst() -> None:
    (found,) = overview.bursts(frame(*(at(1, n / 60) for n in range(30))))
    assert found.count == 30


def test_chance_shows_hardly_a_burst() -> None:
    """Steady traffic, forty times: by the threshold one or none of them shows a burst; four would be a fault."""
    false = 0
    for seed in range(40):
        draw = random.Random(seed)
        events = frame(
            *(at(t, draw.random() * 24 * 30) for t in (1, 2, 3) for _ in range(draw.randint(20, 900)))
        )
        false += bool(overview.bursts(events))
    assert false <= 3
