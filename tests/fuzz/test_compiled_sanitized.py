"""Compiled code under sanitizers: whatever a value holds, no byte is touched that is not its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
SANITIZED = [
    "-O1",
    "-g",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
]
VALUES = 200_000


@pytest.fixture(scope="module", params=["blocks", "plain", "texts"])
def harness(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert COMPILER, "the tests need a C compiler (`cc`)"
    folder = tmp_path_factory.mktemp("harness")
    (folder / "Python.h").touch()  # no_python.h says what it is needed for
    program = folder / "harness"
    command = [COMPILER, "-Wall", "-Wextra", "-Werror", *SANITIZED, "-I", str(folder)]
    done = subprocess.run(
        [*command, str(HERE / f"{request.param}_harness.c"), "-o", str(program)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return program


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_damaged_values_are_read_within_their_bounds(harness: Path, seed: int) -> None:
    done = subprocess.run(
        [str(harness), str(VALUES), str(seed)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[:3000]
    values, taken, *_ = (int(word) for word in done.stdout.split() if word.isdigit())
    assert values >= VALUES
    assert taken > VALUES / 10, "values that are all refused early say little"
