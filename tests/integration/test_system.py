"""The whole path in the operator's terms: workers as processes, a broker, tables judged from outside."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from workers import LETHE, SMS, Process, Site, traffic, until

GOOD = ("good", "late", "envelope")


def get(process: Process, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{process.port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def metric(process: Process, name: str) -> float:
    """The sum of a metric over its labels."""
    lines = get(process, "/metrics")[1].splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}(\{{|\s)", line))


def one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Status 1, one line on standard error that holds the words, nothing on standard output."""
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]  # the log is JSON
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in lines[0]


def test_a_worker_killed_in_the_middle_of_a_load_and_started_again_loses_and_doubles_nothing(
    site: Site,
) -> None:
    topic = site.topic(partitions=2)
    for partition in (0, 1):
        site.produce(topic, traffic(8_000, seed=partition, malformed=0.02, envelope=0.02), partition)
    site.variables |= {
        "LETHE_FLUSH__SECONDS": "0.1",
        "LETHE_FLUSH__BATCH": "400",
        "LETHE_FLUSH__RECORDS": "1000",
    }

    # However slow this process is beside it, there is enough left to do.
    first = site.worker(altered={"slow_commit": 0.5})
    until(lambda: site.archived() > 1_000, 60, "some records are in the archive")
    first.kill()
    assert site.archived() < 16_000, "killed too late to show anything"
    site.drain()

    verdict = site.judge()
    assert verdict.archived > 15_000
    assert verdict.quarantined > 100
    assert site.checker().ledger_covers({(topic, 0): (0, 8_000), (topic, 1): (0, 8_000)}) == []
    checked = site.run("ledger", "--check", "--json")
    assert (checked.returncode, json.loads(checked.stdout)) == (0, {"ok": True, "findings": []})

    # A second run finds nothing to do and changes nothing.
    site.drain()
    assert site.judge() == verdict


def test_two_workers_share_the_partitions_and_are_told_to_stop(site: Site) -> None:
    topic = site.topic(partitions=4)
    workers = [site.worker(), site.worker()]
    for worker in workers:
        assert get(worker, "/live")[0] == 200
    until(lambda: [get(w, "/ready")[0] for w in workers] == [200, 200], 60, "both are ready")

    def held(worker: Process) -> int:
        return len(re.findall(r"^lethe_lag\{", get(worker, "/metrics")[1], re.M))

    until(lambda: [held(w) for w in workers] == [2, 2], 60, "each holds two partitions")
    for partition in range(4):
        site.produce(topic, traffic(500, seed=partition, malformed=0.05), partition)
    until(lambda: sum(metric(w, "lethe_records_in_total") for w in workers) >= 2_000, 40, "all are taken in")

    shares = [metric(w, "lethe_records_in_total") for w in workers]
    rejected = sum(metric(w, "lethe_records_rejected_total") for w in workers)
    archived = sum(metric(w, "lethe_records_archived_total") for w in workers)
    assert all(metric(w, "lethe_commit_seconds_count") >= 1 for w in workers)
    assert [w.stop() for w in workers] == [0, 0]
    verdict = site.judge()
    assert shares == [1_000, 1_000]
    assert (archived, rejected) == (verdict.archived, verdict.quarantined)
    assert rejected == sum(m.good is False for m in site.produced)


def test_more_workers_than_partitions_all_stop_at_the_end(site: Site) -> None:
    topic = site.topic(partitions=1)
    site.produce(topic, traffic(300))
    workers = [site.worker("--stop-at-end") for _ in range(2)]
    assert [w.wait() for w in workers] == [0, 0]
    site.judge()


def test_a_worker_that_is_given_no_partition_stops_at_the_end_all_the_same(site: Site) -> None:
    topic = site.topic(partitions=1)
    site.produce(topic, traffic(300))
    holder = site.worker()
    until(lambda: site.archived() == 300, 60, "the only partition is read")
    site.drain()  # the holder keeps it: nothing is ever assigned to this one
    assert holder.stop() == 0
    site.judge()


def test_the_same_content_is_ingested_once_whatever_the_file_is_called(bare_site: Site) -> None:
    site = bare_site
    values = [(label, value) for label, value in traffic(3_000, malformed=0.03) if b"\n" not in value]
    content = b"".join(value + b"\n" for _, value in values)
    plain, packed = site.directory / "records.ndjson", site.directory / "again.ndjson.gz"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))

    (first,) = json.loads(site.run("ingest", str(plain), "--format", SMS, "--json").stdout)
    (second,) = json.loads(site.run("--json", "ingest", str(packed), "--format", SMS).stdout)

    assert first["already"] == 0
    assert first["records"] == first["split"] + first["rejected"] == len(values)
    assert (second["already"], second["records"], second["stream"]) == (len(values), 0, first["stream"])
    for offset, (label, value) in enumerate(values):
        site.remember(first["stream"], 0, offset, value, label)
    assert site.judge().archived == first["split"]
    assert site.run("ledger", "--check").returncode == 0


def test_an_ingest_killed_in_the_middle_goes_on_where_it_was(bare_site: Site) -> None:
    site = bare_site
    values = traffic(3_000)
    file = site.directory / "records.ndjson"
    file.write_bytes(b"".join(value + b"\n" for _, value in values))
    site.variables |= {"LETHE_FLUSH__RECORDS": "500", "LETHE_FLUSH__BATCH": "250"}
    killed = site.run("ingest", str(file), "--format", SMS, LETHE_FAIL_POINT="metadata.written:4")
    assert killed.returncode == -9
    (report,) = json.loads(site.run("ingest", str(file), "--format", SMS, "--json").stdout)
    assert 0 < report["already"] < 3_000
    assert report["already"] + report["records"] == 3_000
    for offset, (label, value) in enumerate(values):
        site.remember(report["stream"], 0, offset, value, label)
    assert site.judge().archived == 3_000


class TestOneClearLine:
    def test_unreachable_broker(self, bare_site: Site) -> None:
        bare_site.sources["cdr"] = SMS
        one_line(bare_site.run("worker"), "127.0.0.1:1", "bootstrap")
        assert not (bare_site.root / "metadata").exists()

    def test_missing_topic(self, site: Site) -> None:
        site.sources["no.such.topic"] = SMS
        one_line(site.run("worker"), "no.such.topic")

    def test_unknown_format(self, bare_site: Site) -> None:
        bare_site.sources["cdr"] = "no/such"
        one_line(bare_site.run("worker"), "no/such")

    @pytest.mark.parametrize(
        ("variable", "value", "word"),
        [
            ("LETHE_FLUSH__SECONDS", "soon", "flush.seconds"),
            ("LETHE_NO_SUCH", "1", "LETHE_NO_SUCH"),
            ("LETHE_SOURCES", "{", "sources"),
            ("LETHE_ROOT", "ftp://somewhere", "ftp"),
        ],
    )
    def test_wrong_configuration(self, bare_site: Site, variable: str, value: str, word: str) -> None:
        done = bare_site.run("worker", **{variable: value})
        one_line(done, word) if word != "sources" else one_line(done)

    def test_missing_key_directory(self, bare_site: Site) -> None:
        file = bare_site.directory / "one.ndjson"
        file.write_bytes(traffic(1)[0][1])
        assert bare_site.run("ingest", str(file), "--format", SMS).returncode == 0
        bare_site.keys.rename(bare_site.directory / "elsewhere")
        before = sorted(p.name for p in bare_site.root.rglob("*.json"))
        file.write_bytes(traffic(1, seed=2)[0][1])
        one_line(bare_site.run("ingest", str(file), "--format", SMS), str(bare_site.keys), "missing")
        assert sorted(p.name for p in bare_site.root.rglob("*.json")) == before
        assert not bare_site.keys.exists()

    def test_warehouse_without_space(self, bare_site: Site, small_disk: Path) -> None:
        bare_site.variables["LETHE_ROOT"] = str(small_disk / "warehouse")
        file = bare_site.directory / "many.ndjson"
        file.write_bytes(b"\n".join(value for _, value in traffic(8_000)))
        full = bare_site.run("ingest", str(file), "--format", SMS)
        one_line(full, "space")
        (small_disk / "ballast").unlink()
        (report,) = json.loads(bare_site.run("ingest", str(file), "--format", SMS, "--json").stdout)
        assert report["split"] == 8_000

    def test_warehouse_that_is_a_file(self, bare_site: Site) -> None:
        bare_site.root.write_text("not a directory")
        one_line(bare_site.run("ledger"), "warehouse", "root")

    def test_metrics_port_taken(self, site: Site) -> None:
        topic = site.topic()
        other = site.worker()
        one_line(site.run("worker", LETHE_METRICS_PORT=str(other.port)), "metrics_port")
        assert topic in site.sources


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of two megabytes with a ballast file on it that leaves little."""
    directory = tmp_path / "small"
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(directory)], check=False)
    if mounted.returncode:
        pytest.fail("a small file system is needed: run the tests with the right to mount a tmpfs")
    (directory / "ballast").write_bytes(os.urandom(2_400_000))
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


class TestExitStatus:
    def test_0_for_help_and_for_what_is_done(self, bare_site: Site) -> None:
        assert bare_site.run("--help").returncode == 0
        done = bare_site.run("formats", "list", "--json")
        assert (done.returncode, len(json.loads(done.stdout)) > 20) == (0, True)

    def test_1_where_there_is_no_warehouse_and_none_is_made(self, bare_site: Site) -> None:
        done = bare_site.run("keys", "list", "--json")
        assert done.returncode == 1
        assert "there is no warehouse" in str(done.stderr)

    def test_1_for_what_failed_as_json_too(self, bare_site: Site) -> None:
        done = bare_site.run("--json", "sql", "SELEC")
        assert done.returncode == 1
        assert set(json.loads(done.stderr)) == {"error"}

    @pytest.mark.parametrize(
        "arguments",
        [
            ["worker", "--no-such"],
            ["lookup", "1234"],
            ["generate", "--format", "x", "--count", "1"],
            ["nothing"],
        ],
    )
    def test_2_for_wrong_usage(self, bare_site: Site, arguments: list[str]) -> None:
        assert bare_site.run(*arguments).returncode == 2

    def test_the_command_is_installed(self) -> None:
        assert Path(LETHE).exists()
