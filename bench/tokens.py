"""What tokens and sealed values cost: `python -m bench.tokens [COUNT]`, best of several runs, µs a value.

The target is at most 0.3 µs for a token, building its block included. An HMAC for each value, which a token
takes the place of, is measured beside it. A table of results is in `tokens.md`.
"""

from __future__ import annotations

import hmac
import platform
import random
import sys
import time
import uuid
from collections.abc import Callable

import polars as pl
import pyarrow as pa

from lethe.keys.monthkeys import MonthKeys, new_secret
from lethe.keys.pages import ENTRIES, open_page, seal_page
from lethe.keys.sealing import open_column, seal_column
from lethe.keys.tokens import (
    message_tokens,
    needs_sealing,
    reverse_message_tokens,
    reverse_tokens,
    subject_tokens,
)

RUNS = 5


def measure(name: str, count: int, action: Callable[[], object]) -> None:
    best = min(timed(action) for _ in range(RUNS))
    print(f"| {name:<54} | {count:>9,} | {best / count * 1e6:>8.3f} |", flush=True)


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main(count: int) -> None:
    keys = MonthKeys("2025-01.w12", new_secret())
    r = random.Random(1)
    numbers = pl.Series([f"923{r.randrange(10**9):09d}" for _ in range(count)])
    emails = pl.Series([f"person{r.randrange(10**9)}@example.com" for _ in range(count)])
    msisdn, mixed = pl.Series(["msisdn"] * count), pl.Series(["msisdn", "email"] * (count // 2))
    both = pl.concat([numbers[: count // 2], emails[: count // 2]])
    ids = pl.Series([str(uuid.UUID(int=r.getrandbits(128), version=4)) for _ in range(count)])
    other_ids = ids.str.to_uppercase()
    tokens, id_tokens = subject_tokens(keys, msisdn, numbers), message_tokens(keys, ids)

    print(f"Python {platform.python_version()}, polars {pl.__version__}, {pl.thread_pool_size()} threads\n")
    print(f"| {'':<54} | {'values':>9} | {'µs each':>8} |")
    print(f"|{'-' * 56}|{'-' * 11}|{'-' * 10}|")
    measure("subject tokens, phone numbers", count, lambda: subject_tokens(keys, msisdn, numbers))
    measure("subject tokens, half too long for a block", len(both), lambda: subject_tokens(keys, mixed, both))
    measure("which subjects need sealing", count, lambda: needs_sealing(numbers))
    measure("message tokens, UUIDs", count, lambda: message_tokens(keys, ids))
    measure("message tokens, other ids", count, lambda: message_tokens(keys, other_ids))
    few = count // 10
    some, some_ids = tokens.slice(0, few), id_tokens.slice(0, few)
    measure("subject tokens back to phone numbers", few, lambda: reverse_tokens(keys, some))
    measure("message tokens back to UUIDs", few, lambda: reverse_message_tokens(keys, some_ids))
    key, texts = keys.token_key.reveal(), numbers[:few].to_list()
    measure(
        "an HMAC for each phone number instead",
        few,
        lambda: [hmac.digest(key, t.encode(), "sha256") for t in texts],
    )

    positions = [f"infobip.sms/3/{n}" for n in range(few)]
    values: list[bytes | None] = [e.encode() for e in emails[:few]]
    sealed = seal_column(keys, "identifiers", "sealed", positions, values).to_pylist()
    place = (keys, "identifiers", "sealed", positions)
    measure("sealed e-mail addresses", few, lambda: seal_column(*place, values))
    measure("sealed e-mail addresses, opened", few, lambda: open_column(*place, sealed))

    size = 4096
    record = (
        b'{"bulkId":"%d","messageId":"%s","to":"%s","status":{"groupId":3,"name":"DELIVERED_TO_HANDSET"}}'
    )
    originals = [record % (r.randrange(10**9), ids[n].encode(), numbers[n].encode()) for n in range(size)]
    forms = ["received"] * size
    page = pa.table([range(size), pa.nulls(size, pa.int32()), forms, originals], schema=ENTRIES)
    where = (keys, "originals", "infobip.sms", 3, 0, size - 1)
    measure("records into a sealed page of 4,096", size, lambda: seal_page(*where, page))
    closed = seal_page(*where, page)
    measure("records out of a sealed page of 4,096", size, lambda: open_page(*where, closed))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
