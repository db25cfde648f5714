"""The map of the house names files that are there, and every room the package has."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
ROOMS = sorted(link.name for link in (ROOT / "lethe").iterdir() if link.is_symlink())


def test_every_file_it_names_is_there() -> None:
    named = set(re.findall(rf"`((?:{'|'.join(ROOMS)}|tests)/[\w/]+\.py)`", PAGE))
    assert len(named) > 15
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_function_it_names_is_in_its_file() -> None:
    pairs = re.findall(r"`([\w/]+\.py)`:? `(\w+)(?:\.(\w+))?`", PAGE)
    assert len(pairs) > 5
    for file, first, second in pairs:
        text = (ROOT / file).read_text("utf-8")
        for name in filter(None, (first, second)):
            assert re.search(rf"(?:def|class) {name}\b", text), (file, name)


def test_it_shows_every_room() -> None:
    for room in {*ROOMS} - {"deploy"}:
        assert f"{room}/" in PAGE, room


def test_no_room_is_a_corridor() -> None:
    for folder in {file.parent for room in ROOMS for file in (ROOT / room).rglob("*.py")}:
        modules = [f for f in folder.glob("*.py") if f.name != "__init__.py"]
        assert len(modules) <= 14, f"{folder.relative_to(ROOT)} has {len(modules)} modules"
