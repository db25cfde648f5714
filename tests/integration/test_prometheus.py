"""A real Prometheus scrapes a real worker: every panel of the dashboard has an answer, and no alert is raised."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from workers import Site, traffic, until

from lethe.testing.brokers.process import free_ports

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "lethe.json").read_text())
# Of these there is nothing before the first sweep, or without a record that is rejected or late.
MAY_BE_EMPTY = {
    "Rejected, by reason",
    "Late, and content dropped",
    "Share rejected",
    "Share redacted",
    "Holds",
    "Holds overdue for review",
    "What changed in formats, by column",
    "Hours since the last sweep",  # before the first one nobody can say
}


def ask(port: int, path: str, **arguments: str) -> Any:
    query = urllib.parse.urlencode(arguments)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}?{query}", timeout=10) as answer:
        return json.load(answer)["data"]


def asked_early(port: int, path: str, **arguments: str) -> Any:
    """Ask a Prometheus that may not have begun to answer: then nothing is known yet."""
    try:
        return ask(port, path, **arguments)
    except OSError:
        return {"result": []}


@pytest.fixture
def scraped(site: Site, tmp_path: Path) -> Iterator[int]:
    """A worker that has taken in 3,000 records while Prometheus looked on; yields the port of Prometheus."""
    program = shutil.which("prometheus")
    assert program, "the tests need prometheus: make tools (apt-get install prometheus)"
    topic = site.topic(partitions=2)
    worker = site.worker()
    given = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yaml").read_text())
    given["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    given["rule_files"] = [str(ROOT / "deploy" / "prometheus" / "lethe.rules.yaml")]
    given["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{worker.port}"]}]
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(given))
    (port,) = free_ports(1)
    with (tmp_path / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [program, f"--config.file={tmp_path}/prometheus.yaml", f"--web.listen-address=127.0.0.1:{port}",
             f"--storage.tsdb.path={tmp_path}/data"],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        until(
            lambda: any(
                float(one["value"][1]) == 1 for one in asked_early(port, "query", query="up")["result"]
            ),
            40,
            "it is scraped",
        )
        for partition in range(2):
            site.produce(topic, traffic(1_500, seed=partition, malformed=0.05), partition)
        asked = "sum(lethe_records_in_total)"
        until(
            lambda: [one["value"][1] for one in ask(port, "query", query=asked)["result"]] == ["3000"],
            60,
            "all are seen",
        )
        yield port
    finally:
        process.terminate()
        process.wait(60)


def test_every_panel_has_an_answer_and_no_alert_is_raised(scraped: int) -> None:
    def empty() -> set[str]:
        return {
            panel["title"]
            for panel in DASHBOARD["panels"]
            for target in panel.get("targets", ())
            if not ask(scraped, "query", query=target["expr"])["result"]
        } - MAY_BE_EMPTY

    # What is said of a change needs a second scrape, and a rule has to be looked at once.
    with suppress(AssertionError):
        until(lambda: not empty(), 30, "every panel has an answer")
    assert empty() == set()
    until(
        lambda: all(rule["health"] != "unknown" for rule in ask(scraped, "rules")["groups"][0]["rules"]),
        30,
        "every rule was looked at",
    )
    streams = ask(scraped, "query", query="sum by (stream) (lethe_records_in_total)")["result"]
    assert len(streams) == 1
    rules = ask(scraped, "rules")["groups"][0]["rules"]
    written = (ROOT / "deploy" / "prometheus" / "lethe.rules.yaml").read_text("utf-8")
    assert len(rules) == written.count("- alert: ") > 15
    assert {rule["health"] for rule in rules} == {"ok"}
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
