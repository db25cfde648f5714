"""Requests from the control topic: done once, answered without a name, bad ones told why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from audits import audit_bytes, audit_entries
from retention_world import World, report

from lethe.streams.worker.control_topic import Desk

HER = "+923001234567"
MARCH = datetime(2025, 3, 9, 12, tzinfo=UTC)


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    world = make_world(requests={"signed": False})
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    world.ingest([report(1, HER, MARCH), report(2, "+4915112345678", MARCH)])
    return world


def ask(world: World, **fields: Any) -> dict[str, Any]:
    return Desk(world.runtime).answer(orjson.dumps({"id": str(uuid4()), "subject": HER, **fields}))


def test_an_erasure_is_previewed_done_and_done_once(world: World) -> None:
    request = str(uuid4())
    assert ask(world, command="erase.preview")["months"][0]["identifiers"] == 1
    first = ask(world, command="erase", id=request)
    assert (first["id"], first["state"], first["certificate"]) == (request, "done", 0)
    assert world.found(HER) == []
    world.ingest([report(5, HER, MARCH)])
    assert ask(world, command="erase", id=request.upper()) == first, "the same request is not done again"
    assert len(world.found(HER)) == 1


def test_restriction_comes_and_goes(world: World) -> None:
    assert ask(world, command="restrict")["changed"] is True
    assert ask(world, command="restrict")["changed"] is False
    assert ask(world, command="lift")["changed"] is True


def test_an_export_lies_in_a_file_and_is_not_in_the_answer(world: World) -> None:
    answer = ask(world, command="export")
    assert (answer["records"], answer["files"]) == (
        1,
        ["export.json", "records.csv", "other_records.csv", "looked_at.csv", "held_by_law.csv"],
    )
    folder = world.folder / "exports" / answer["folder"]
    assert (
        orjson.loads((folder / "export.json").read_bytes())["records"][0]["identifiers"][0]["value"]
        == HER[1:]
    )
    assert folder.stat().st_mode & 0o777 == 0o700
    assert HER[1:] not in str(answer)


def test_an_export_goes_where_the_settings_say(make_world: Callable[..., World], tmp_path: Path) -> None:
    world = make_world(requests={"signed": False}, exports_dir=tmp_path / "handed over")
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    world.ingest([report(1, HER, MARCH)])
    answer = ask(world, command="export")
    assert (tmp_path / "handed over" / answer["folder"] / "export.json").exists()


def test_an_export_that_cannot_be_written_says_which_setting_to_change(world: World) -> None:
    (world.folder / "exports").write_text("in the way, as a read-only file system is")
    answer = ask(world, command="export")
    assert answer["state"] == "failed"
    assert answer["reason"].endswith("exports_dir names the folder: set one that workers may write to")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"id": HER}, "id"), ({"id": 7}, "id"), ({"command": HER}, "command"), ({"subject": ""}, "subject"),
        ({"subject": ["x"]}, "subject"), ({HER: 1}, "field"), ({"case": 3}, "texts"),
    ],
)  # fmt: skip
def test_bad_requests_are_told_why_and_nobody_is_named(
    world: World, fields: dict[str, Any], why: str
) -> None:
    answer = ask(world, **{"command": "erase", **fields})
    assert answer["state"] == "refused"
    assert why in answer["reason"]
    assert "3001234567" not in str(answer)
    assert len(world.found(HER)) == 1


@pytest.mark.parametrize("data", [None, b"", b"[]", b"{", b"\xff", b"x" * 20_000])
def test_what_is_no_request_is_refused(world: World, data: bytes | None) -> None:
    answer = Desk(world.runtime).answer(data)
    assert (answer["id"], answer["state"]) == (None, "refused")


def test_what_is_stored_of_a_request_names_nobody(world: World) -> None:
    request = str(uuid4())
    ask(world, command="erase", id=request)
    assert world.holding(HER[1:].encode()) == []
    assert {name.split("/")[1] for name in world.holding(request.encode())} == {"audit"}
    assert len(world.paths("_requests")) == 1
    assert HER[1:].encode() not in audit_bytes(world.keys)
    assert [e["request"] for e in audit_entries(world.keys)] == [request, request]
