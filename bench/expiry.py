"""What it costs to forget the oldest month: `python -m bench.expiry FOLDER` (one that `bench.lookup` made; it goes)."""

from __future__ import annotations

import resource
import sys
import time
from datetime import timedelta
from pathlib import Path

from lethe.operations.retention.sweep import maintenance_context
from lethe.operations.runtime import Runtime, system_clock
from lethe.operations.settings import Settings
from lethe.schemas.retention.calendar import window_end
from lethe.tiers.retention.expiry import due_months, forget_month


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    settings = Settings(root=f"{folder}/warehouse", keys_dir=folder / "keys")
    ring = Runtime(settings, system_clock).ring
    first = min(info.month for info in ring.list(system_clock()))
    after = window_end(first, 12) + timedelta(hours=1)
    maintenance = maintenance_context(Runtime(settings, lambda: after), forced=True)
    (due, *_) = due_months(maintenance.warehouse, maintenance.ring, after)
    start, spent = time.perf_counter(), time.process_time()
    done = forget_month(maintenance, due)
    spent, wall = time.process_time() - spent, time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{done.what}: {done.state}, {done.rows:,} rows, {done.files} file(s)")
    print(f"{spent:.2f} s of processor, {wall:.2f} s of the wall; memory at most {memory} MB")


if __name__ == "__main__":
    main()
