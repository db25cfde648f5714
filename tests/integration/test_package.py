"""What is installed: one package `lethe`, from the wheel and from the sdist, beside whatever else has a room's name."""

from __future__ import annotations

import os
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from packages import OFFLINE, PIP, ROOMS, ROOT, run

import lethe

ASKED = """
import importlib.metadata, lethe, lethe._native, lethe.streams.transform.decode.decode, schemas
from pathlib import Path
home = Path(lethe.__file__).parent
print(importlib.metadata.version("lethe"), schemas.WHOSE, (home / "py.typed").exists(), lethe._native.__file__)
assert lethe.schemas.__file__ == str(home / "schemas" / "__init__.py") and not (home / "schemas").is_symlink()
assert Path(lethe._native.__file__).parent == home
"""


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
