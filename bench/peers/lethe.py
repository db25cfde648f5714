"""Lethe itself: its worker as it is shipped, from Kafka to committed tables, in one process or several.

The clock starts at the first assignment of any worker and stops at the last commit of any; the count is what the
ledger of the warehouse says. Options: `workers`, `scope` (`none`, `all` or countries, by commas), `store` (`s3`:
an S3 API served by a process beside it, for the shape of the figures only), and settings as `LETHE_…` variables.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pyarrow.compute as pc

from bench.object_store import object_store
from bench.peer import LIBRDKAFKA, Request, Result
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings, load
from lethe.schemas.arrow import TABLES

FORMAT = "infobip/sms-report"


def settings_of(request: Request, root: str) -> dict[str, str]:
    """The variables a worker of this run is configured with; everything else is Lethe's default."""
    scope = request.options.get("scope", "PK")
    return {
        "LETHE_ROOT": root,
        "LETHE_KEYS_DIR": f"{request.directory}/keys",
        "LETHE_BOOTSTRAP": request.bootstrap,
        "LETHE_SOURCES": json.dumps({request.topic: FORMAT}),
        "LETHE_KAFKA__GROUP": request.group,
        # As for every other peer: some brokers hold a group's first join for the whole session time-out.
        "LETHE_KAFKA__SESSION_TIMEOUT_MS": LIBRDKAFKA["session.timeout.ms"],
        "LETHE_INTEGRITY__SCOPE": json.dumps(scope if scope in ("all", "none") else scope.split(",")),
        "LETHE_METRICS_PORT": "0",
        **{name: value for name, value in request.options.items() if name.startswith("LETHE_")},
    }


def run(request: Request) -> Result:
    """Work the topic off to its end and look at what is in the tables."""
    number = int(request.options.get("workers", "1"))
    with ExitStack() as stack:
        root, extra = f"{request.directory}/warehouse", {}
        if request.options.get("store") == "s3":
            root, extra = stack.enter_context(object_store())
        environment = {**os.environ, **settings_of(request, root), **extra}
        reports = [Path(request.directory) / f"worker-{n}.json" for n in range(number)]
        workers = [
            subprocess.Popen(
                [sys.executable, "-m", "bench.worker", str(report)],
                env=environment,
                cwd=Path(__file__).parents[2],
            )
            for report in reports
        ]
        deadline = time.monotonic() + request.timeout
        try:
            for worker in workers:
                worker.wait(max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"no end within {request.timeout:g} s") from None
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        if failed := [worker.returncode for worker in workers if worker.returncode]:
            raise RuntimeError(f"a worker ended with status {failed[0]}")
        said = [json.loads(report.read_text()) for report in reports]
        records, detail = _look(_settings(environment))
    if not all(one["commits"] for one in said):
        raise RuntimeError("a worker came too late to get a share: its group was given out without it")
    seconds = max(one["last"] for one in said) - min(one["first"] for one in said)
    return Result(seconds, records, sum(one["rss"] for one in said), sum(one["cpu"] for one in said), detail)


def _settings(environment: dict[str, str]) -> Settings:
    for name, value in environment.items():
        if name.startswith("LETHE_"):
            os.environ[name] = value
    return load()


def _look(settings: Settings) -> tuple[int, str]:
    """How many records are in both tiers, and what each table takes."""
    warehouse = Runtime(settings).warehouse
    ledger = warehouse.ledger.stored.to_pyarrow_dataset().to_table(
        columns=["records", "in_scope", "rejected"]
    )
    records, in_scope, rejected = (int(pc.sum(ledger.column(n)).as_py() or 0) for n in ledger.column_names)
    sizes = {}
    for name in TABLES:
        actions = warehouse.table(name).delta.get_add_actions(flatten=True)
        sizes[name] = sum(actions.column("size_bytes").to_pylist())
        if name == "metadata" and sum(actions.column("num_records").to_pylist()) != records - rejected:
            raise RuntimeError("the archive does not hold what the ledger says")
    each = ", ".join(
        f"{name} {sizes[name] / records:.1f}" for name in ("metadata", "identifiers", "originals")
    )
    return records, f"{each} B/record; {in_scope / records:.0%} in scope"
