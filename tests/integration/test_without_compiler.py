"""A machine without a compiler: the wheel brings the compiled code, the source distribution does without it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from packages import OFFLINE, PIP, beside_needed, run


@dataclass
class Bare:
    """An environment whose programs are all there is on PATH; whoever calls a compiler all the same gets a failure."""

    venv: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one of its programs."""
        found = {
            "PATH": str(self.venv / "bin"),
            "CC": "/bin/false",
            "CXX": "/bin/false",
            "HOME": str(self.venv),
        }
        return subprocess.run(
            [str(self.venv / "bin" / command[0]), *command[1:]], env=found, cwd=self.venv, capture_output=True,
            text=True, timeout=120, check=False,
        )  # fmt: skip

    def install(self, package: Path) -> None:
        """Install a package into it, by a pip that finds no compiler."""
        done = subprocess.run(
            [*PIP, "--python", str(self.venv / "bin/python"), "install", *OFFLINE, str(package)], cwd=self.venv,
            env={"PATH": str(self.venv / "bin"), "CC": "/bin/false", "HOME": str(self.venv)},
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def bare(tmp_path: Path) -> Bare:
    run(sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv"), cwd=tmp_path)
    beside_needed(tmp_path / "venv", tmp_path / "needed")
    return Bare(tmp_path / "venv")


def reader(bare: Bare) -> tuple[str, str]:
    """What `doctor` says of the compiled code: its state, and the words."""
    (check,) = [c for c in json.loads(bare.run("lethe", "doctor", "--json").stdout) if c["what"] == "reader"]
    return check["state"], check["found"]


def works(bare: Bare) -> None:
    version = bare.run("lethe", "--version")
    assert version.stdout.startswith("lethe "), version.stderr
    demo = bare.run("lethe", "demo", "--records", "2000")
    assert demo.returncode == 0, demo.stdout + demo.stderr


def test_the_wheel_has_the_compiled_code(bare: Bare, wheel: Path) -> None:
    bare.install(wheel)
    assert reader(bare) == ("ok", "compiled: records in the usual spelling are read in one pass")
    works(bare)


def test_the_source_distribution_does_without_a_compiler_and_says_so(bare: Bare, sdist: Path) -> None:
    bare.install(sdist)
    state, said = reader(bare)
    assert (state, said.partition(":")[0]) == ("warning", "not compiled")
    works(bare)


def test_the_wheel_fits_every_linux_of_the_last_ten_years(wheel: Path) -> None:
    shown = run(sys.executable, "-m", "auditwheel", "show", str(wheel), cwd=wheel.parent)
    (minor,) = re.findall(r'platform tag: "manylinux_2_(\d+)_', " ".join(shown.split()))
    assert int(minor) <= 28
