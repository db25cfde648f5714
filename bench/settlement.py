"""What a bill by network and route costs before and after a merge: `bench.settlement [ROWS] [FOLDER] [A_FILE] [--far]`.

A month of the archive (6,000,000 rows) is written in files of 60,000 rows, as a worker at 12,000 records a second does
each five seconds, and asked by DuckDB with one thread, before `lethe compact --whole` and after it, in a process each.
Beside it stands what DuckDB takes for the same columns in a table of its own in memory, where nothing is read.

With `--far` it is asked of an object store too, each of whose requests takes 50 ms: the files are read by pyarrow's
datasets, as a reader of Delta tables does, eight at once, and counted is the wall.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.disk_store import DiskStore
from bench.lookup import make, months
from bench.slow_server import BUCKET, DELAY
from lethe.operations.compact import Asked, compact, overview
from lethe.operations.engines import open_engine
from lethe.operations.engines.tasks import Cluster
from lethe.operations.runtime import Runtime, system_clock
from lethe.operations.settings import Settings
from lethe.tiers.delta.rewrite import files_of

ROWS, FILE = 6_000_000, 60_000
_TIMED = """
import json, sys, time, duckdb
files = json.load(open(sys.argv[1]))
connection = duckdb.connect()
connection.execute("SET threads = 1")
asked = "SELECT mcc, mnc, route, count(*), sum(parts) FROM {} GROUP BY ALL ORDER BY ALL"
def timed(query, times, *values):
    spent, walls = [], []
    for _ in range(times):
        start, before = time.perf_counter(), time.process_time()
        found = connection.execute(query, *values).fetchall()
        spent.append(time.process_time() - before)
        walls.append(time.perf_counter() - start)
    middle = times // 2
    return {"first": spent[0], "spent": sorted(spent)[middle], "wall": sorted(walls)[middle], "found": found}
"""
LOCAL = f"""{_TIMED}
answer = timed(asked.format("read_parquet(?)"), 5, [files])
connection.execute("CREATE TABLE t AS SELECT mcc, mnc, route, parts FROM read_parquet(?)", [files])
print(json.dumps(answer | {{"memory": timed(asked.format("t"), 5)["spent"]}}))
"""
FAR = f"""{_TIMED}
import pyarrow as pa, pyarrow.dataset as ds
from pyarrow.fs import S3FileSystem
pa.set_io_thread_count(8)
store = S3FileSystem(access_key="a", secret_key="b", endpoint_override=sys.argv[2], scheme="http", region="us-east-1")
schema = pa.schema([("mcc", pa.string()), ("mnc", pa.string()), ("route", pa.string()), ("parts", pa.int32())])
read = ds.dataset(files, schema=schema, format=ds.ParquetFileFormat(), filesystem=store)
print(json.dumps(timed(asked.format("read"), 1)))
"""


def run(program: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # after a bar of DuckDB's
    return answer


def asked(folder: Path, runtime: Runtime, store: DiskStore | None) -> dict[str, Any]:
    """Ask for the bill in a process of its own; the first time it reads the footers."""
    table = runtime.warehouse.metadata
    table.reload()
    paths = [f"metadata/{file.path}" for file in files_of(table)]
    listed = folder / "files.json"
    listed.write_text(json.dumps([f"{folder}/warehouse/{path}" for path in paths]))
    answer = run(LOCAL, str(listed))
    (part,) = overview(runtime, Asked(("metadata",)))
    print(f"{part.files} file(s), {part.bytes / part.rows:.2f} bytes a row: the first time {answer['first']:.3f} s of "
          f"processor, then {answer['spent']:.3f}, wall {answer['wall']:.3f} s; in a table in memory "
          f"{answer['memory']:.3f} s", flush=True)  # fmt: skip
    if store is not None:
        listed.write_text(json.dumps([f"{BUCKET}/{path}" for path in paths]))
        store.told()
        far = run(FAR, str(listed), f"127.0.0.1:{store.port}")
        assert far["found"] == answer["found"]
        answer["far"] = far["wall"]
        wall, spent = far["wall"], far["spent"]
        print(f"of an object store, {DELAY * 1e3:.0f} ms a request: {store.told()} requests, {wall:.2f} s of the wall, "
              f"{spent:.3f} s of processor", flush=True)  # fmt: skip
    return answer


def main() -> None:
    arguments = [text for text in sys.argv[1:] if text != "--far"]
    rows = int(arguments[0].replace(",", "")) if arguments else ROWS
    folder = Path(arguments[1] if len(arguments) > 1 else f"var/settlement-{rows}").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lethe.toml").write_text(f'root = "{folder}/warehouse"\nkeys_dir = "{folder}/keys"\n')
    settings = Settings(root=f"{folder}/warehouse", keys_dir=folder / "keys")
    runtime = Runtime(settings, system_clock)
    store = DiskStore(folder / "warehouse") if "--far" in sys.argv else None
    make(runtime, rows, [months()[-2]], int(arguments[2]) if len(arguments) > 2 else FILE, ("metadata",))
    print(f"load average {os.getloadavg()[0]:.1f}")
    before = asked(folder, runtime, store)
    start = time.process_time()
    engine = open_engine("local", workers=1)
    compact(runtime, Asked(("metadata",), whole=True), Cluster(engine, settings.root, folder / "lethe.toml"))
    print(f"merged: {rows / (time.process_time() - start):,.0f} rows/s a core", flush=True)
    after = asked(folder, Runtime(settings, system_clock), store)
    assert before["found"] == after["found"]
    print(f"{before['first'] / after['first']:.1f} times as fast the first time, "
          f"then {before['spent'] / after['spent']:.1f} times; "
          f"a table in memory would be {before['spent'] / after['memory']:.1f} times")  # fmt: skip
    if store is not None:
        print(f"of an object store {before['far'] / after['far']:.1f} times as fast")


if __name__ == "__main__":
    main()
