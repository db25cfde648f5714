"""Find planted repeats and superseded reports among many: all of them, and nothing beside them.

Run with `nice python -m bench.adjustments [--count 5000000] [--share 0.01]`. Reports are split and committed part after
part, every tenth commit by new handles, as after a restart; of a share of the messages there are two reports: the same
one again, or a pending one before the final one, two commits apart. `lethe adjustments run` runs in the middle and at
the end. Prints what was planted, what was found, and the memory its processes took at most; status 1 if they differ.
`--engine dask --workers 2` and the like are for that command.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil

from bench.batches import batch_of
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.schemas.declaration import format as formats
from lethe.testing.traffic import generate

NOW = datetime(2026, 3, 31, tzinfo=UTC)
SMS = "infobip/sms-report"
_BATCH = 4_000
_COMMIT = 72_000


def reports(count: int, seed: int) -> Iterator[bytes]:
    """Yield reports, each of a message of its own: of 100,000 that were made up, with ids of their own."""
    made = list(generate(SMS, min(count, 100_000), seed, until=NOW, months=1))
    ids = [json.loads(value)["messageId"].encode() for value in made]
    for at in range(count):
        again, which = divmod(at, len(made))
        yield made[which].replace(ids[which], ids[which] + b"-%d" % again, 1) if again else made[which]


def planted(count: int, share: float, seed: int) -> Iterator[tuple[bytes, str | None]]:
    """Yield reports, in order, each with why it is not to be billed, or None."""
    draw = random.Random(seed)
    waiting: deque[tuple[int, bytes]] = deque()  # when it comes, the other report
    for at, value in enumerate(reports(count, seed)):
        while waiting and waiting[0][0] <= at:
            yield waiting.popleft()[1], None
        if draw.random() >= share:
            yield value, None
            continue
        later = at + 2 * _COMMIT  # two commits on
        final = with_status(value, 3, "DELIVERED")
        if draw.random() < 0.5:
            yield with_status(value, 1, "PENDING"), "superseded"
            waiting.append((later, final))
        else:
            yield final, None
            waiting.append((later, b"again" + final))
    for _, value in waiting:
        yield value, None


def with_status(report: bytes, group: int, name: str) -> bytes:
    """Return a report with another status."""
    return json.dumps(
        {**json.loads(report), "status": {"groupId": group, "groupName": name, "id": 5, "name": f"{name}_SO"}}
    ).encode()


def sweep(folder: str, options: list[str]) -> str:
    """Run `lethe adjustments run` and say what it found, and what it took."""
    command = [str(Path(sys.executable).with_name("lethe")), "--config", f"{folder}/lethe.toml", "--json"]
    began, most, spent = time.monotonic(), dict[int, int](), dict[int, float]()
    with subprocess.Popen([*command, "adjustments", "run", *options], stdout=subprocess.PIPE) as running:
        while running.poll() is None:
            with suppress(psutil.NoSuchProcess):
                mine = psutil.Process(running.pid)
                for one in (mine, *mine.children(recursive=True)):
                    most[one.pid] = max(most.get(one.pid, 0), one.memory_info().rss)
                    spent[one.pid] = sum(one.cpu_times()[:2])
            time.sleep(0.02)
        assert running.stdout is not None
        found = sum(one["new"] for one in json.loads(running.stdout.read()))
    return (
        f"{found:,} found in {time.monotonic() - began:,.0f} s, {sum(spent.values()):,.0f} s of processor time of "
        f"{len(most)} processes, of which the largest had {max(most.values()) >> 20:,} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5_000_000)
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=1)
    asked, options = parser.parse_known_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lethe-adjustments-") as folder:
        settings = Settings(root=str(Path(folder, "warehouse")), keys_dir=Path(folder, "keys"))
        Path(folder, "lethe.toml").write_text(f'root = "{settings.root}"\nkeys_dir = "{settings.keys_dir}"\n')
        expected: dict[int, str] = {}
        runtime, pending, offset, commits = Runtime(settings, lambda: NOW), [], 0, 0
        values: list[bytes | None] = []
        fmt = formats.get(SMS)

        def flush(least: int) -> None:
            nonlocal runtime, pending, values, commits
            if len(values) >= min(least, _BATCH) and values:
                pending.append(batch_of(values, offset - len(values), SMS))
                values = []
            if pending and sum(len(b.values) for b in pending) >= least:
                runtime.new_warehouse().commit(runtime.transform.process_all(pending, fmt), runtime.ring)
                pending, commits = [], commits + 1
                if commits % 10 == 0:
                    runtime = Runtime(settings, lambda: NOW)  # a restart

        for value, why in planted(asked.count, asked.share, asked.seed):
            if value.startswith(b"again"):
                value, why = value[5:], "repeated"
            if why is not None:
                expected[offset] = why
            values.append(value)
            offset += 1
            if len(values) >= _BATCH:
                flush(_COMMIT)
            if offset == asked.count // 2:
                print(f"in the middle: {sweep(folder, options)}", flush=True)
        flush(0)
        taken = time.monotonic() - began
        print(f"taken in, and swept once, in {taken:,.0f} s")
        print(f"at the end: {sweep(folder, options)}", flush=True)
        table = Runtime(settings, lambda: NOW).warehouse.table("adjustments").dataset().to_table()
        found = dict(zip(table["offset"].to_pylist(), map(str, table["reason"].to_pylist()), strict=True))
        print(f"a second run: {sweep(folder, options)}", flush=True)
    print(
        f"{offset:,} reports in {commits} commits, {len(expected):,} of them not to be billed; found {len(found):,}: "
        f"{sum(expected.get(at) == why for at, why in found.items()):,} right, "
        f"{len(found.keys() - expected.keys()):,} beside them, {len(expected.keys() - found.keys()):,} missed"
    )
    raise SystemExit(0 if found == expected else 1)


if __name__ == "__main__":
    main()
