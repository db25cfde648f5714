"""The rooms of the house: arrows between them go one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MAY_IMPORT = {
    "schemas": set(),
    "keys": {"schemas"},
    "integrity": {"schemas"},
    "tiers": {"schemas", "keys", "integrity"},
    "deploy": {"schemas"},
    "streams": {"schemas", "keys", "integrity", "tiers"},
    "console": {"schemas", "keys", "integrity", "tiers", "streams", "deploy"},
}


def imported(file: Path) -> set[str]:
    """Top-level packages a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    for file in files:
        above = (imported(file) & set(MAY_IMPORT)) - MAY_IMPORT[room] - {room}
        assert not above, f"{file.relative_to(ROOT)} imports {', '.join(sorted(above))}"


def test_schemas_does_no_io() -> None:
    # But for reading declarations, which are its data.
    for file in set((ROOT / "schemas").rglob("*.py")) - {ROOT / "schemas" / "format.py"}:
        assert not imported(file) & {"os", "pathlib", "socket", "subprocess", "obstore", "deltalake"}, (
            file.name
        )


def test_one_module_each_owns_its_library() -> None:
    owners = {"obstore": {"tiers/objects.py"}, "duckdb": {"tiers/sql.py", "streams/shred.py"}}
    for library, allowed in owners.items():
        users = {
            str(file.relative_to(ROOT))
            for room in MAY_IMPORT
            for file in (ROOT / room).rglob("*.py")
            if library in imported(file)
        }
        assert users == allowed, f"{library} is used by {sorted(users)}"
