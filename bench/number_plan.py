"""Try every mobile number of Pakistan on one integrity hash whose month's key is gone, and once more with the key.

Run with `python -m bench.number_plan [--blocks 10000] [--processes 2] [--ways 3]`. What is attacked, and how, is said
in `tests/number_plan.py`. The complete plan is 10,000 blocks, a thousand million numbers: some seven minutes of
processor time in each way. Status 1 if a number is found without the salt, or the number is not found with it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import SystemRandom

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from number_plan import BLOCKS, CONTROL, IN_BLOCK, Case, block_of, make_case, search

from lethe.console.cli.shell import progress

_TOGETHER = 10


def _try(case: Case, ways: list[str], blocks: range) -> tuple[int, dict[str, list[bytes]], float]:
    began = time.process_time()
    found = {way: [n for block in blocks for n in search(case, way, block)] for way in ways}
    return len(blocks), found, time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--blocks", type=int, default=BLOCKS, help="how many, the one with the number among them"
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--ways", type=int, default=3, help="how many ways, the one with the salt first")
    asked = parser.parse_args()
    draw = SystemRandom()
    number = b"923%09d" % draw.randrange(10**9)
    with tempfile.TemporaryDirectory(prefix="lethe-plan-") as folder:
        case = make_case(Path(folder), number)
    ways = list(case.ways)[: asked.ways]
    # A part is a run of blocks with the number's own in it, so that the search with the salt has what to find.
    first = max(0, min(BLOCKS - asked.blocks, block_of(number) - draw.randrange(asked.blocks)))
    ends = first + asked.blocks
    parts = [range(at, min(at + _TOGETHER, ends)) for at in range(first, ends, _TOGETHER)]
    found: dict[str, list[bytes]] = {way: [] for way in ways}
    done, spent, started = 0, 0.0, time.monotonic()
    with (
        progress("numbers tried", asked.blocks * IN_BLOCK) as update,
        ProcessPoolExecutor(asked.processes, mp_context=get_context("spawn")) as pool,
    ):
        for blocks, some, seconds in pool.map(_try, [case] * len(parts), [ways] * len(parts), parts):
            done, spent = done + blocks, spent + seconds
            for way, hits in some.items():
                found[way] += hits
            update(done * IN_BLOCK, None)
    whole = "the complete plan" if done == BLOCKS else f"{done / BLOCKS:.2%} of the plan"
    print(
        f"tried {done * IN_BLOCK:,} numbers, {whole}, in {len(ways)} ways: {time.monotonic() - started:,.0f} s, "
        f"{spent:,.0f} s of processor time"
    )
    for way, hits in found.items():
        print(f"{way}: {'no number' if not hits else f'{len(hits)} number(s)'}")
    kept = found.pop(CONTROL) == [number] and not any(found.values())
    print("the hash leads to nobody without the salt" if kept else "NOT AS IT SHOULD BE")
    raise SystemExit(0 if kept else 1)


if __name__ == "__main__":
    main()
