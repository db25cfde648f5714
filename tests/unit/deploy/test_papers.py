"""Papers agree with what they speak of."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import lethe

ROOT = Path(__file__).parents[3]
DECISIONS = sorted((ROOT / "docs" / "adr").glob("0*.md"))


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda path: path.stem)
def test_every_decision_has_a_status_and_a_line_in_the_index(decision: Path) -> None:
    text = decision.read_text("utf-8")
    title = re.match(r"# (\d+)\. (.+)\n", text)
    status = re.search(r"^Status: (.+) · Date: (\d{4}-\d\d-\d\d)$", text, re.M)
    assert title, "write `# N. Title` on its first line"
    assert status, "write `Status: Accepted · Date: YYYY-MM-DD` under its title"
    assert int(title[1]) == int(decision.name[:4])
    line = f"| [{title[1]}]({decision.name}) | {title[2]} | {status[1]} | {status[2]} |"
    assert line in (ROOT / "docs" / "adr" / "README.md").read_text("utf-8").splitlines()


@pytest.mark.parametrize(
    "paper", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/native.md"]
)
def test_what_a_paper_links_to_is_there(paper: str) -> None:
    text = (ROOT / paper).read_text("utf-8")
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert link.startswith("https://") or ((ROOT / paper).parent / link).exists(), link
    for path in re.findall(
        r"`((?:docs|tests|native|schemas|keys|operations|console|streams)/[^`*A-Z]+)`", text
    ):
        assert (ROOT / path).exists(), path


def test_the_changelog_begins_with_this_version() -> None:
    newest = re.search(r"^## (\S+), ", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert newest
    assert newest[1] == lethe.__version__


def test_the_licence_is_the_one_that_is_declared() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()


def test_the_workflow_runs_what_has_to_hold() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert [step["run"] for step in workflow["jobs"]["ci"]["steps"] if "run" in step][-1] == ".ci/run"
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    lint = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition(".PHONY")[0]
    for hook in hooks:
        assert hook["entry"].removeprefix(".venv/bin/").split()[0] in lint


def test_a_release_is_built_from_pinned_actions_for_both_architectures() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "wheels.yml").read_text())["jobs"]
    used = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert len(used) == 4
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in used)
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]["build"]
    wanted = {one["arch"] for one in jobs["wheels"]["strategy"]["matrix"]["include"]}
    assert {one.partition("-manylinux_")[2] for one in built} == wanted == {"x86_64", "aarch64"}
