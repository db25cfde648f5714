"""Weighted choice as one table look-up.

Only `random.Random(int).random()` is drawn from: of the `random` module it is the one method whose sequence
for a seed is documented to stay the same. The rest is integer arithmetic and IEEE 754 multiplication, so the
same seed gives the same bytes on every machine.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

SLOTS = 1024

T = TypeVar("T")
Draw = Callable[[], float]


def source(*names: object) -> Draw:
    """Return a uniform source over [0, 1), fixed for ever by what it is named after."""
    name = "/".join(map(str, names)).encode()
    seed = int.from_bytes(hashlib.sha256(name).digest()[:16], "big")
    return random.Random(seed).random  # noqa: S311 - made-up traffic, no secret


def wheel(weighted: Sequence[tuple[T, int]], slots: int = SLOTS) -> tuple[T, ...]:
    """Spread values over a table of `slots` by integer weight; `table[int(u * slots)]` is the choice."""
    total = sum(weight for _, weight in weighted)
    if total <= 0 or len(weighted) > slots:
        raise ValueError("a wheel needs a positive weight and no more values than slots")
    table: list[T] = []
    reached = 0
    for value, weight in weighted:
        reached += weight
        table.extend([value] * (reached * slots // total - len(table)))
    return tuple(table)


def identifiers(*names: object) -> Iterator[str]:
    """Return an endless run of random-looking 32-digit hexadecimal ids (SHAKE-128 of the name, block by block)."""
    name = "/".join(map(str, names))
    block = 0
    while True:
        digits = hashlib.shake_128(f"{name}/{block}".encode()).hexdigest(16 * 512)
        for start in range(0, len(digits), 32):
            yield digits[start : start + 32]
        block += 1
