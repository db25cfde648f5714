"""A point at which a test kills the process is none in an installed product."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import lethe
from lethe.operations.sections import environment
from lethe.tiers.store import failpoint

PROGRAM = "from lethe.tiers.store.failpoint import fail_point; fail_point('here'); print('on')"


def dies(folder: Path) -> bool:
    env = {**os.environ, "LETHE_FAIL_POINT": "here"}
    done = subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {PROGRAM}"],
                          env=env, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0 or not done.stderr, done.stderr
    return done.returncode != 0


def test_it_kills_in_a_checkout_alone(tmp_path: Path) -> None:
    """As it is installed, the package has no tests beside it."""
    checkout, installed = Path(lethe.__file__).resolve().parents[1], tmp_path / "site-packages"
    assert dies(checkout)
    store = installed / "lethe" / "tiers" / "store"
    store.mkdir(parents=True)
    shutil.copy(failpoint.__file__, store)
    for folder in (store, store.parent, store.parents[1]):
        (folder / "__init__.py").touch()
    assert not dies(installed)


def test_where_it_does_not_work_it_is_no_setting() -> None:
    assert "LETHE_FAIL_POINT" in environment.NOT_SETTINGS
    program = (
        "import lethe.tiers.store.failpoint as f; f.FOR_TESTS = False\n"
        "from lethe.operations.sections.environment import NOT_SETTINGS; print('LETHE_FAIL_POINT' in NOT_SETTINGS)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
