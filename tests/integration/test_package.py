"""What is installed: one package `lethe`, from the wheel and from the sdist, beside whatever else has a room's name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import lethe

ROOT = Path(__file__).parents[2]
ROOMS = ("schemas", "keys", "integrity", "tiers", "streams", "operations", "console", "deploy", "testing")
PAPERS = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md")
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")
OFFLINE = ("--no-deps", "--no-build-isolation", "--no-index")
ASKED = """
import importlib.metadata, lethe, lethe._native, lethe.streams.transform.decode.decode, schemas
from pathlib import Path
home = Path(lethe.__file__).parent
print(importlib.metadata.version("lethe"), schemas.WHOSE, (home / "py.typed").exists(), lethe._native.__file__)
assert lethe.schemas.__file__ == str(home / "schemas" / "__init__.py") and not (home / "schemas").is_symlink()
assert Path(lethe._native.__file__).parent == home
"""


def run(*command: str, cwd: Path, **env: str) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "LETHE_"))}
    done = subprocess.run(
        command, cwd=cwd, env=kept | env, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of a checkout in which nothing was built before."""
    source = tmp_path_factory.mktemp("source")
    for paper in PAPERS:
        shutil.copy(ROOT / paper, source / paper)
    unwanted = shutil.ignore_patterns("__pycache__", "*.so")
    for folder in ("lethe", "native", *ROOMS):
        shutil.copytree(ROOT / folder, source / folder, symlinks=True, ignore=unwanted)
    made = source / "dist"
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(made)!r})"
    run(sys.executable, "-W", "ignore", "-c", code, cwd=source)
    return next(made.iterdir())


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    run(*PIP, "wheel", *OFFLINE, "--wheel-dir", str(sdist.parent), str(sdist), cwd=sdist.parent)
    return next(sdist.parent.glob("*.whl"))


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """An environment with another package called `schemas`, and with what Lethe needs, but without Lethe."""
    run(sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv"), cwd=tmp_path)
    site = tmp_path / "venv" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    (site / "schemas").mkdir()
    (site / "schemas" / "__init__.py").write_text("WHOSE = 'another'\n")
    # Behind its own packages; the links to the repository in that folder are not followed from a `.pth` file.
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return tmp_path / "venv"


def installed(venv: Path, package: Path) -> None:
    python = venv / "bin" / "python"
    run(*PIP, "--python", str(python), "install", *OFFLINE, str(package), cwd=venv)
    version, whose, typed, native = run(str(python), "-c", ASKED, cwd=venv).split()
    assert (version, whose, typed) == (lethe.__version__, "another", "True")
    assert native.endswith("_native.abi3.so")
    site = next((venv / "lib").glob("python3.*/site-packages"))
    planted = {one.name.partition("-")[0] for one in site.iterdir()} - {"needed.pth", "schemas"}
    assert planted == {"lethe"}
    home = {"HOME": str(venv)}
    assert "Remembers the traffic" in run(str(venv / "bin" / "lethe"), "--help", cwd=venv, **home)
    formats = run(str(venv / "bin" / "lethe"), "formats", "list", cwd=venv, COLUMNS="200", **home)
    assert "infobip/sms-report" in formats


def test_the_wheel_is_for_every_python_from_3_11_on_and_holds_one_package(wheel: Path) -> None:
    assert wheel.name == f"lethe-{lethe.__version__}-cp311-abi3-linux_{os.uname().machine}.whl"
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    assert {name.split("/")[0] for name in names} == {"lethe", f"lethe-{lethe.__version__}.dist-info"}
    assert {"lethe/py.typed", "lethe/_native.abi3.so", "lethe/_native.pyi"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    modules = {
        f"lethe/{path.relative_to(ROOT)}"
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if "__pycache__" not in path.parts
    }
    assert modules == {name for name in names if name.endswith(".py")} - {"lethe/__init__.py"}


def test_the_sdist_has_all_that_a_wheel_is_made_of(sdist: Path) -> None:
    with tarfile.open(sdist) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
        assert not any(one.issym() or one.islnk() for one in opened.getmembers())
    assert {f"native/{path.name}" for path in (ROOT / "native").iterdir()} <= names
    assert {"LICENSE", "CHANGELOG.md", "pyproject.toml", "lethe/py.typed"} <= names
    assert not any(name.endswith(".so") for name in names)


def test_the_wheel_is_installed_beside_a_package_of_a_rooms_name(wheel: Path, empty: Path) -> None:
    installed(empty, wheel)


def test_the_sdist_is_installed_beside_a_package_of_a_rooms_name(sdist: Path, empty: Path) -> None:
    installed(empty, sdist)
