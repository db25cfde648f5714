"""The warehouse on an S3 API: several writers, no lock table, no record lost or doubled."""

from __future__ import annotations

import io
import json
import shutil
import sys
import threading
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checker import Checker
from plant import Writer, prepare, source_of
from replay_plant import ACME, DEMANDING, GOOD
from workers import SMS, Site, traffic, until

from lethe.operations.audit.log import AuditLog
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.schemas.errors import ConfigurationError, FencedError, IntegrityError
from lethe.testing.brokers.process import free_ports, port_is_open, spawn, stop
from lethe.tiers.ledger.reconcile import check
from lethe.tiers.store.object_store import StoreObjects
from lethe.tiers.store.objects import open_objects

BUCKET = "lethe"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A local server that speaks S3."""
    # A process of its own: a server in a thread would wait for the lock that a library holds while it waits for it.
    (port,) = free_ports(1)
    program = str(Path(sys.executable).with_name("moto_server"))
    server = spawn([program, "-H", "127.0.0.1", "-p", str(port)])
    until(lambda: port_is_open(port), 30, "the S3 server answers")
    yield f"http://127.0.0.1:{port}"
    stop(server)


@pytest.fixture
def storage(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


@pytest.fixture
def root(endpoint: str, tmp_path: Path) -> str:
    """An empty prefix of a bucket that is there."""
    request = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")
    urllib.request.urlopen(request, timeout=10).close()
    return f"s3://{BUCKET}/{tmp_path.name}"


class Remote:
    """A plant whose warehouse is in the bucket."""

    def __init__(self, root: str, storage: dict[str, str], keys: Path) -> None:
        self.settings = Settings(root=root, keys_dir=keys, storage=storage)

    def runtime(self) -> Runtime:
        return Runtime(self.settings)


def judged(root: str, storage: dict[str, str], keys: Path, produced: list) -> None:
    objects = open_objects(root, storage)
    verdict = Checker(root, keys, storage, objects).judge(produced)
    assert verdict.kept, str(verdict)


def test_objects_behave_as_in_a_directory(root: str, storage: dict[str, str]) -> None:
    objects = StoreObjects(root, storage)
    assert objects.get("a/b") is None
    assert objects.create("a/b", b"1") is True
    assert objects.create("a/b", b"2") is False
    assert objects.get("a/b") == b"1"
    objects.put("a/b", b"3")
    objects.put("a/c/d", b"4")
    objects.put("ab", b"5")
    assert (objects.get("a/b"), objects.list("a"), objects.list("")) == (
        b"3",
        ["a/b", "a/c/d"],
        ["a/b", "a/c/d", "ab"],
    )
    objects.delete("a/b")
    objects.delete("a/b")
    assert objects.list("a") == ["a/c/d"]


def test_zombie_and_owner(root: str, storage: dict[str, str], tmp_path: Path) -> None:
    source = source_of("cdr")
    labelled = traffic(300, seed=4, malformed=0.05)
    values = [v for _, v in labelled]
    site = Site(tmp_path)
    for offset, (label, value) in enumerate(labelled):
        site.remember("cdr", 0, offset, value, label)
    remote = Remote(root, storage, tmp_path / "keys")
    zombie, owner = Writer(remote), Writer(remote)  # type: ignore[arg-type]
    held = prepare(zombie.runtime.transform, source, 0, values[:100])
    owner.go_on(source, values, 120)
    with pytest.raises(FencedError):
        zombie.warehouse.commit([held], zombie.ring)
    judged(root, storage, tmp_path / "keys", site.produced)
    assert check(remote.runtime().warehouse) == []


def test_replay_over_a_warehouse_in_a_bucket(root: str, storage: dict[str, str], tmp_path: Path) -> None:
    """Two at once, too: whoever loses the turn says so, and what was rejected lands once."""
    site = Site(tmp_path)
    formats = tmp_path / "formats"
    formats.mkdir()
    site.variables |= {
        "LETHE_ROOT": root, "LETHE_STORAGE": json.dumps(storage), "LETHE_FORMATS_DIR": str(formats),
        "LETHE_FLUSH__RECORDS": "200", "LETHE_FLUSH__BATCH": "100",
    }  # fmt: skip
    (formats / "sms.toml").write_text(DEMANDING, "utf-8")
    values = [v for _, v in traffic(400, seed=5)]
    file = tmp_path / "reports.ndjson"
    file.write_bytes(b"".join(v + b"\n" for v in values))
    done = site.run("ingest", str(file), "--format", ACME, "--json", "--as-declared")
    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)
    objects = open_objects(root, storage)
    checker = Checker(root, site.keys, storage, objects)
    rejected = checker.arrow("quarantine", ["offset"]).num_rows
    assert 50 < rejected < len(values)

    (formats / "sms.toml").write_text(GOOD, "utf-8")
    replays = [site.start("quarantine", "replay") for _ in range(2)]
    statuses = [process.wait(100) for process in replays]
    assert 0 in statuses, [process.text() for process in replays]
    assert site.run("quarantine", "replay", "--json").returncode == 0
    assert checker.arrow("quarantine", ["offset"]).num_rows == 0
    for table in ("metadata", "identifiers"):
        rows = checker.arrow(table, ["stream", "partition", "offset"]).to_pylist()
        assert {row["stream"] for row in rows} == {report["stream"]}
        assert sorted(row["offset"] for row in rows) == list(range(len(values))), table
    assert objects.list("_replay") == []
    for command in (("ledger", "--check"), ("verify",)):
        checked = site.run(*command)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_several_processes_write_at_the_same_time(root: str, storage: dict[str, str], tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.variables |= {
        "LETHE_ROOT": root, "LETHE_STORAGE": json.dumps(storage),
        "LETHE_FLUSH__RECORDS": "200", "LETHE_FLUSH__BATCH": "100",
    }  # fmt: skip
    files = []
    for number in range(3):
        files.append((tmp_path / f"{number}.ndjson", traffic(600, seed=number)))
        files[-1][0].write_bytes(b"".join(v + b"\n" for _, v in files[-1][1]))
    # The tables and the months' keys are made in this race, too.
    running = [site.start("ingest", str(file), "--format", SMS, "--json") for file, _ in files]
    for process, (_, values) in zip(running, files, strict=True):
        assert process.wait(100) == 0, process.text()
        (report,) = json.loads(process.text())
        for offset, (label, value) in enumerate(values):
            site.remember(report["stream"], 0, offset, value, label)
    judged(root, storage, site.keys, site.produced)
    assert site.run("ledger", "--check").returncode == 0


def ingested(site: Site, root: str, storage: dict[str, str]) -> int:
    """An installation in the bucket that has taken two files in; returns how many of its rows are in scope."""
    site.variables |= {
        "LETHE_ROOT": root, "LETHE_STORAGE": json.dumps(storage),
        "LETHE_FLUSH__RECORDS": "200", "LETHE_FLUSH__BATCH": "100",
    }  # fmt: skip
    for number in range(2):
        file = site.directory / f"{number}.ndjson"
        file.write_bytes(b"".join(v + b"\n" for _, v in traffic(500, seed=number)))
        assert site.run("ingest", str(file), "--format", SMS, "--json").returncode == 0
    hashes = Checker(root, site.keys, storage, open_objects(root, storage)).arrow(
        "metadata", ["integrity_hash"]
    )
    return int(hashes.num_rows - hashes.column("integrity_hash").null_count)


def test_verify_over_a_warehouse_in_a_bucket(root: str, storage: dict[str, str], tmp_path: Path) -> None:
    site = Site(tmp_path)
    in_scope = ingested(site, root, storage)
    assert in_scope > 100
    verified = site.run("verify", "--json")
    said = json.loads(verified.stdout)
    assert (verified.returncode, said["ok"], said["findings"]) == (0, True, [])
    assert (said["rows"], said["logs"]) == (in_scope, 2)
    # Where only the bucket is at hand, and a key that was written down.
    shown = site.run("keys", "show").stdout
    key = next(line for line in shown.splitlines() if line.startswith("lethe+"))
    elsewhere = str(tmp_path / "elsewhere")
    auditor = site.run("verify", "--key", key, "--json", LETHE_KEYS_DIR=elsewhere)
    assert (auditor.returncode, json.loads(auditor.stdout)["rows"]) == (0, in_scope)


def test_verify_names_what_was_altered_in_a_bucket(
    root: str, storage: dict[str, str], tmp_path: Path
) -> None:
    site = Site(tmp_path)
    in_scope = ingested(site, root, storage)
    objects = open_objects(root, storage)
    # One row of one file is altered in place; later the checkpoint of the other log is taken away.
    path, rows, at = next(
        (p, rows, at)
        for p in objects.list("metadata")
        if p.endswith(".parquet")
        for rows in [pq.read_table(io.BytesIO(objects.get(p) or b""))]
        for at, value in enumerate(rows.column("integrity_hash").to_pylist())
        if value is not None
    )
    accounts = rows.column("account").to_pylist()
    accounts[at] = "somebody-else"
    column = rows.schema.get_field_index("account")
    field = rows.schema.field("account")
    out = io.BytesIO()
    pq.write_table(rows.set_column(column, field, pa.array(accounts, field.type)), out)
    objects.put(path, out.getvalue())
    row = rows.slice(at, 1).to_pylist()[0]
    verified = site.run("verify", "--json")
    said = json.loads(verified.stdout)
    assert (verified.returncode, said["ok"], said["rows"]) == (1, False, in_scope)
    assert [(f["kind"], f["where"], f["file"]) for f in said["findings"]] == [
        ("altered", f"{row['stream']}/{row['partition']}/{row['offset']}", path)
    ]
    assert "finding" in verified.stderr
    ends = [p for p in objects.list("_log") if p.endswith("/checkpoint") and "/stamps/" not in p]
    (other,) = [p for p in ends if f"/{row['stream']}/" not in p]
    objects.delete(other)
    said = json.loads(site.run("verify", "--json").stdout)
    assert sorted(f["kind"] for f in said["findings"]) == ["altered", "not proven"]


def test_a_store_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    site = Site(tmp_path)
    options = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "not-to-be-shown", "AWS_MAX_RETRIES": "1",
    }  # fmt: skip
    site.variables |= {"LETHE_ROOT": "s3://lethe/none", "LETHE_STORAGE": json.dumps(options)}
    done = site.run("ledger")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "not-to-be-shown" not in done.stderr


def test_a_scheme_nobody_speaks_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="gopher"):
        open_objects("gopher://x", {})


def test_the_audit_in_a_bucket_from_two_machines(root: str, storage: dict[str, str], tmp_path: Path) -> None:
    """A key directory each, so that nothing but conditional puts keeps them apart: an entry may be there twice, none
    is missing.
    """
    now = datetime(2026, 11, 1, 12, tzinfo=UTC)
    AuditLog(f"{root}/audit", tmp_path / "a", storage=storage).append({"case": "first"}, now)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    logs = [AuditLog(f"{root}/audit", tmp_path / name, storage=storage) for name in ("a", "b")]

    def append(log: AuditLog) -> None:
        for number in range(20):
            log.append({"case": f"{log.key_directory.name}{number}"}, now)

    threads = [threading.Thread(target=append, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    said = sorted(f"{name}{number}" for name in "ab" for number in range(20))
    for log in logs:
        found = [e["case"] for e in log.entries()]
        assert set(found) == {*said, "first"}
        assert len(found) <= len(said) + 2
    objects = open_objects(f"{root}/audit", storage)
    for path in objects.list(""):
        if path.endswith("checkpoint"):
            objects.delete(path)
    for log in logs:
        with pytest.raises(IntegrityError, match="is gone"):
            list(log.entries())
