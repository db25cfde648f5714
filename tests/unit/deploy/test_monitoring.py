"""Metrics, their page, alert rules, runbook and dashboard speak of the same things."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lethe.streams.worker.metrics import Metrics

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "lethe.rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "lethe.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def registered() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Every metric of the worker by the name it is scraped under: its type and its labels."""
    found = {}
    for collector in Metrics().registry._collector_to_names:
        (metric,) = collector.describe()
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        found[name] = (metric.type, tuple(collector._labelnames))
    return found


def promtool(*arguments: str, cwd: Path = PROMETHEUS) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    assert program, "the tests need promtool: make tools (apt-get install prometheus)"
    return subprocess.run(
        [program, *arguments], cwd=cwd, capture_output=True, text=True, timeout=240, check=False
    )


def test_the_page_lists_every_metric_and_no_other() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `(lethe_\w+)` \| (\w+) \|([^|]*)\| [^|]{10,} \|$", page, re.M)
    assert {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows
    } == registered()
    assert len(rows) == page.count("| `lethe_")


def test_labels_say_nothing_of_a_record() -> None:
    labels = {label for _, names in registered().values() for label in names}
    assert labels <= {
        "stream",
        "partition",
        "reason",
        "outcome",
        "state",
        "format",
        "column",
        "change",
        "how",
    }


@pytest.mark.parametrize(
    "expression",
    [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]],
)
def test_what_is_asked_for_is_measured(expression: str) -> None:
    known = registered()
    series = set(known) | {f"{name}_bucket" for name, (kind, _) in known.items() if kind == "histogram"}
    assert set(re.findall(r"\blethe_\w+", expression)) <= series
    for labels in re.findall(r"\bby \(([^)]*)\)", expression):
        own = {
            label for name in re.findall(r"\blethe_\w+", expression) for label in known.get(name, ("", ()))[1]
        }
        assert set(re.findall(r"\w+", labels)) <= own | {"le", "instance"}


def test_every_alert_is_sound_tested_and_in_the_runbook() -> None:
    done = promtool("check", "rules", "lethe.rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    names = [rule["alert"] for rule in RULES]
    assert re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text("utf-8"), re.M) == names
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")
    tests = yaml.safe_load((PROMETHEUS / "lethe.rules.test.yaml").read_text())["tests"]
    raised = {one["alertname"] for test in tests for one in test["alert_rule_test"] if one["exp_alerts"]}
    silent = {one["alertname"] for test in tests for one in test["alert_rule_test"] if not one["exp_alerts"]}
    assert raised == silent == set(names)


def test_alerts_are_raised_when_they_should_be_and_not_before() -> None:
    done = promtool("test", "rules", "lethe.rules.test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_its_configuration() -> None:
    done = promtool("check", "config", "prometheus.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_asks_what_prometheus_understands(tmp_path: Path) -> None:
    """Each question as a rule of its own, so that Prometheus parses it; every panel on the grid, none over another."""
    asked = [target["expr"] for panel in PANELS for target in panel["targets"]]
    rules: list[dict[str, Any]] = [{"record": f"panel:{at}", "expr": expr} for at, expr in enumerate(asked)]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = promtool("check", "rules", "panels.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert {name for name in registered() if any(name in expr for expr in asked)} == set(registered())


def test_compose_runs_the_prometheus_that_the_rules_are_tested_with_and_scrapes_its_workers() -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    services = compose["services"]
    image, _, version = services["prometheus"]["image"].partition(":v")
    assert image == "docker.io/prom/prometheus"
    assert f"version {version}" in promtool("--version").stdout
    (job,) = yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text())["scrape_configs"]
    workers = {f"{name}:9464" for name in services if name.startswith("worker")}
    assert set(job["static_configs"][0]["targets"]) == workers
    for name in ("prometheus", "grafana"):
        service = services[name]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for volume in service["volumes"]:
            source, _, _ = volume.partition(":")
            assert (
                (ROOT / "deploy" / source).exists()
                if source.startswith("./")
                else source in compose["volumes"]
            )
            assert source not in ("warehouse", "keys", "audit")


def test_a_sweep_that_never_was_is_no_half_a_million_hours_ago() -> None:
    """The gauge is 0 until the first sweep, which is 1970."""
    asked = [one["expr"] for panel in PANELS for one in panel["targets"] if "lethe_last_sweep" in one["expr"]]
    assert asked == ["(time() - max(lethe_last_sweep_seconds > 0)) / 3600"]
