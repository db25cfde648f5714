"""From how many people on a crowd is faster than one pattern: `python -m bench.spellings`; gives `spellings._FEW`."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial

import pyarrow as pa

from lethe.schemas.subjects import spellings
from lethe.schemas.subjects.addresses import Subject


def best(do: Callable[[], object]) -> float:
    """Return processor milliseconds, the least of five."""
    spent = []
    for _ in range(5):
        start = time.process_time()
        do()
        spent.append(time.process_time() - start)
    return min(spent) * 1e3


def main() -> None:
    chance = random.Random(5)
    numbers = [(chance.randrange(10**7), chance.randrange(10**9)) for _ in range(2_000)]
    texts = [f'{{"to": "92300{to:07d}", "text": "order {order}"}}' for to, order in numbers]
    values = pa.array([text.encode() for text in texts])
    print("| people | one pattern: made, columns, texts, ms | a crowd: the same |\n|---:|---:|---:|")
    for count in (1, 2, 5, 10, 25, 50, 100, 200):
        people = [Subject("msisdn", f"92301{chance.randrange(10**7):07d}") for _ in range(count)]
        told = []
        for few in (count, 0):
            spellings._FEW = few  # type: ignore[misc]
            sought = spellings.spellings(people)
            assert sought is not None
            made = best(partial(spellings.spellings, people))
            column = best(partial(sought.suspects, values))
            text = best(lambda s=sought: [s.found_in([text]) for text in texts])  # type: ignore[misc]
            told.append(f"{made:.1f}, {column:.1f}, {text:.1f}")
        print(f"| {count} | {told[0]} | {told[1]} |", flush=True)


if __name__ == "__main__":
    main()
