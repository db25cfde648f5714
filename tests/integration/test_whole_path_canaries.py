"""Somebody's address planted in every field, and a search for it through everything a warehouse leaves on disk.

The whole path is real: files of records through `lethe ingest` and the worker, both tiers, the Delta logs, the ledger,
the integrity log, file names, the audit log, the answers of commands, logs and metrics.
"""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from random import Random

import pytest
from audits import audit_entries
from brokers import Broker
from canaries import MARK, in_bytes, person, record, traces
from workers import Site, until

from lethe.schemas.declaration.format import get_format

FORMATS = ("infobip/sms-report", "infobip/sms-inbound", "infobip/voice-report", "infobip/email-report")


def planted(name: str, count: int, seed: int) -> list[bytes]:
    """Records of a format with one person each, in every field and spelling; some of them broken."""
    draw = Random(seed)
    fmt = get_format(name)
    made = [record(fmt, person(draw), draw, draw.choice([0.0, 0.3, 1.0])) for _ in range(count)]
    return [value[: len(value) // 2] if at % 17 == 0 else value for at, value in enumerate(made)]


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(planted("infobip/sms-report", 3, 1)[1])
    assert traces(tmp_path)


@pytest.mark.parametrize("name", FORMATS)
def test_nobody_is_found_after_a_back_fill(name: str, tmp_path: Path) -> None:
    lethe = str(Path(sys.executable).parent / "lethe")
    home = tmp_path / "home"
    home.mkdir()
    source = tmp_path / "records.ndjson"
    source.write_bytes(b"\n".join(planted(name, 300, 5)) + b"\n")
    env = {"PATH": "/usr/bin:/bin", "HOME": str(home), "LETHE_ROOT": str(home / "warehouse"),
           "LETHE_KEYS_DIR": str(home / "keys"), "LETHE_BOOTSTRAP": "127.0.0.1:1"}  # fmt: skip
    said = b""
    for command in (
        ["ingest", str(source), "--format", name, "--json", "--as-declared"],
        ["ledger", "--json"],
        ["quarantine", "list", "--json"],
        ["sql", "SELECT * FROM metadata", "--json"],
        ["lookup", f"9230000{MARK}00", "--case", "C", "--purpose", "canary"],
        ["verify", "--json"],
        ["ingest", str(source), "--format", name, "--as-declared"],
    ):
        done = subprocess.run([lethe, *command], env=env, cwd=home, capture_output=True, timeout=90)
        assert done.returncode == 0, (command, done.stderr.decode()[-1000:])
        said += done.stdout + done.stderr
    # Positions and ids of our own are digits too; what must not be there is the person.
    text = re.sub(r"file-[0-9a-f]{32}|[0-9a-f]{40,}", "", said.decode())
    assert not in_bytes(text.encode())
    assert traces(home / "warehouse") == []
    assert audit_entries(home / "keys")[-1]["action"] == "lookup"
    assert traces(home / "keys" / "audit") == []


def test_nobody_is_found_in_a_worker_s_logs_and_metrics(site: Site, broker: Broker) -> None:
    topic = site.topic("cdr.canary")
    broker.produce(topic, planted("infobip/sms-report", 400, 9))
    worker = site.worker()
    address = f"http://127.0.0.1:{worker.port}/metrics"

    def committed() -> str:
        text: str = urllib.request.urlopen(address, timeout=60).read().decode()
        return text if "lethe_records_in_total{" in text else ""

    metrics = until(committed, 60, "a commit in the metrics")
    assert worker.stop() == 0
    assert not in_bytes(metrics.encode())
    assert not in_bytes(worker.text().encode())
    assert traces(site.root) == []
