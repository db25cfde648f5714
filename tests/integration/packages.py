"""What Lethe is installed from: source distribution and wheel, of a checkout in which nothing was built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("schemas", "keys", "integrity", "tiers", "streams", "operations", "console", "deploy", "testing")
PAPERS = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md")
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")
OFFLINE = ("--no-deps", "--no-build-isolation", "--no-index")


def run(*command: str, cwd: Path, **env: str) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "LETHE_"))}
    done = subprocess.run(
        command, cwd=cwd, env=kept | env, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def build_sdist(source: Path) -> Path:
    """Build the source distribution in an empty folder."""
    for paper in PAPERS:
        shutil.copy(ROOT / paper, source / paper)
    unwanted = shutil.ignore_patterns("__pycache__", "*.so")
    for folder in ("lethe", "native", *ROOMS):
        shutil.copytree(ROOT / folder, source / folder, symlinks=True, ignore=unwanted)
    made = source / "dist"
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(made)!r})"
    run(sys.executable, "-W", "ignore", "-c", code, cwd=source)
    return next(made.iterdir())


def beside_needed(venv: Path, needed: Path) -> None:
    """Let a new environment find the packages that Lethe needs where they are, and no Lethe: nothing is fetched."""
    needed.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.lower().startswith(("lethe", "__editable__")) and entry.suffix != ".pth":
            (needed / entry.name).symlink_to(entry)
    site = next((venv / "lib").glob("python3.*/site-packages"))
    (site / "needed.pth").write_text(f"{needed}\n")


def build_wheel(sdist: Path, folder: Path, **env: str) -> Path:
    """Build a wheel of a source distribution into a folder."""
    run(*PIP, "wheel", *OFFLINE, "--wheel-dir", str(folder), str(sdist), cwd=folder, **env)
    return next(folder.glob("*.whl"))
