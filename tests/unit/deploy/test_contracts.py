"""The published contracts say what the code does: generated from it, in step, and true of the fixtures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from lethe.deploy import contracts
from lethe.schemas.arrow import LEDGER, METADATA
from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Format

ROOT = Path(__file__).parents[3]
PUBLISHED = ROOT / "docs" / "contracts"


def published(name: str) -> dict[str, Any]:
    return yaml.safe_load((PUBLISHED / name).read_text())


def test_what_is_published_is_what_the_code_gives(tmp_path: Path) -> None:
    contracts.main(str(tmp_path))
    for file in tmp_path.iterdir():
        assert (PUBLISHED / file.name).read_text() == file.read_text(), (
            f"{file.name} is out of step: python -m lethe.deploy.contracts docs/contracts"
        )
    assert {f.name for f in tmp_path.iterdir()} | {"README.md"} == {f.name for f in PUBLISHED.iterdir()}


@pytest.mark.parametrize(
    ("name", "schema"), [("archive", METADATA), ("ledger", LEDGER)], ids=["archive", "ledger"]
)
def test_a_contract_has_every_column_in_its_type(name: str, schema: pa.Schema) -> None:
    contract = published(f"{name}.odcs.yaml")
    assert (contract["apiVersion"], contract["kind"]) == ("v3.1.0", "DataContract")
    (table,) = contract["schema"]
    columns = {column["name"]: column for column in table["properties"]}
    assert list(columns) == schema.names
    kinds = {pa.string(): "VARCHAR", pa.int32(): "INTEGER", pa.int64(): "BIGINT", pa.bool_(): "BOOLEAN"}
    for field in schema:
        assert columns[field.name].get("required", False) == (not field.nullable)
        assert columns[field.name]["physicalType"] == kinds.get(
            field.type, columns[field.name]["physicalType"]
        )
        assert (columns[field.name]["physicalType"] == "BLOB") == field.type.__str__().startswith(
            ("binary", "fixed_size_binary")
        )


def test_every_format_is_a_message_with_its_fields() -> None:
    document = published("records.asyncapi.yaml")
    assert document["asyncapi"] == "3.0.0"
    messages = document["components"]["messages"]
    declared = {n: f for n, f in formats.builtin().items() if isinstance(f, Format)}
    assert {message["name"] for message in messages.values()} == set(declared)
    for reference in document["channels"]["records"]["messages"].values():
        assert reference["$ref"].removeprefix("#/components/messages/") in messages
    for message in messages.values():
        found = declared[message["name"]]
        classes = dict(leaves(message["payload"]))
        assert classes == {field.path.replace("[0]", "[]"): field.class_ for field in found.fields}


def leaves(schema: dict[str, Any], path: str = "") -> list[tuple[str, str]]:
    found = [(path, schema["x-lethe-class"])] if "x-lethe-class" in schema else []
    for name, inner in schema.get("properties", {}).items():
        found += leaves(inner, f"{path}.{name}" if path else name)
    return found + (leaves(schema["items"], f"{path}[]") if "items" in schema else [])


def test_records_of_the_vendors_fit_what_is_published() -> None:
    """A declared field that is there has a shape that the document allows."""
    messages = {m["name"]: m for m in published("records.asyncapi.yaml")["components"]["messages"].values()}
    looked = 0
    for file in sorted((ROOT / "tests" / "fixtures" / "formats").rglob("*.ndjson")):
        name = f"{file.parent.name}/{file.stem}"
        if name not in messages or "x-lethe-lies-in" in messages[name]["payload"]:
            continue
        for line in file.read_text().splitlines()[:50]:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                looked += fits(record, messages[name]["payload"], name)
    assert looked > 500


def fits(value: Any, schema: dict[str, Any], where: str) -> int:
    """Hold a value against a schema; returns how many declared fields it has."""
    looked = 0
    if "x-lethe-class" in schema and "type" in schema and not isinstance(value, dict | list):
        kinds = {
            "string": isinstance(value, str), "null": value is None, "boolean": isinstance(value, bool),
            "integer": isinstance(value, int), "number": isinstance(value, int | float),
        }  # fmt: skip
        assert any(kinds[kind] for kind in schema["type"]), where
        looked = 1
    for name, inner in schema.get("properties", {}).items():
        if isinstance(value, dict) and name in value:
            looked += fits(value[name], inner, f"{where} {name}")
    if isinstance(value, list) and "items" in schema:
        looked += sum(fits(element, schema["items"], where) for element in value)
    return looked
