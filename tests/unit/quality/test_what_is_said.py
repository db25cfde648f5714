"""What `lethe quality` says of a change: the factor it is, and how many are refused and why."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from lethe.tiers.quality.compare import changes, measured
from lethe.tiers.quality.profile import REFUSED, Column, Profile


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (100, "100 times as much"), (60, "60 times as much"), (1000, "1000 times as much"), (0.01, "a 100th"),
        (1 / 60, "a 60th"), (0.001, "a 1000th"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("price", [0.031, 0.0459, 0.05, 0.33])
def test_a_factor_is_named_as_what_it_is(factor: float, said: str, price: float) -> None:
    def seen(size: float) -> Profile:
        half = str(math.floor(2 * math.log2(size)))
        return Profile(1_000, "2026-11-10", {"price": Column(1_000, 0, counts=Counter({half: 1_000}))})

    past = Profile()
    for _ in range(8):
        past.add(Profile(1_000, "2026-11-09", measured(seen(price))))
    (found,) = changes(seen(price * factor), past.columns, past)
    assert (found.column, found.what) == ("price", "unit")
    assert found.now.endswith(f", {said}")


def test_how_many_are_refused_is_said_and_why() -> None:
    def seen(refused: int) -> Profile:
        reasons = Counter({"amount_form": refused}) if refused else Counter()
        return Profile(600, "2026-11-10", {REFUSED: Column(600, 600 - refused, counts=reasons)})

    past = Profile()
    for _ in range(8):
        past.add(Profile(600, "2026-11-09", measured(seen(0))))
    (found,) = changes(seen(600), past.columns, past)
    assert (found.what, found.before, found.now) == ("refused", "0.0%", "100.0%: amount_form")
