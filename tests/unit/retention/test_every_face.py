"""One rule for every face: whom a text names is the same by command and by message, whatever is asked.

The person of these tests has an id of WhatsApp, which says nothing about its kind: the record keeps it as an id of that
channel, and whoever types it does not know.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import orjson
import pytest
from retention_world import World
from typer.testing import CliRunner

from lethe.console.cli.main import app
from lethe.operations import runtime as runtimes
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import LetheError
from lethe.streams.worker.control_topic import Desk

REPORTS = Path(__file__).parents[2] / "fixtures/formats/infobip/messages-report.ndjson"
HER = "US.ENT.11815799212886844830"
STRANGER = "US.ENT.00000000000000000001"
LOOK = ("--case", "F-1", "--purpose", "fraud")


class Face(Protocol):
    """How one face is asked; each answers what it said."""

    def preview(self, value: str) -> dict[str, Any]: ...
    def erase(self, value: str) -> dict[str, Any]: ...
    def restrict(self, value: str) -> dict[str, Any]: ...
    def lift(self, value: str) -> dict[str, Any]: ...
    def export(self, value: str) -> dict[str, Any]: ...


class CommandLine:
    def __init__(self, world: World) -> None:
        self.config = world.folder / "lethe.toml"
        self.config.write_text(f'root = "{world.root}"\nkeys_dir = "{world.keys}"\n')

    def run(self, *arguments: str) -> Any:
        result = CliRunner().invoke(app, ["--config", str(self.config), "--json", *arguments])
        if isinstance(result.exception, LetheError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def preview(self, value: str) -> dict[str, Any]:
        return dict(self.run("erase", value, "--dry-run"))

    def erase(self, value: str) -> dict[str, Any]:
        return dict(self.run("erase", value, "--yes"))

    def restrict(self, value: str) -> dict[str, Any]:
        return dict(self.run("restrict", value))

    def lift(self, value: str) -> dict[str, Any]:
        return dict(self.run("restrict", value, "--lift"))

    def export(self, value: str) -> dict[str, Any]:
        return dict(self.run("export", value))


class ControlTopic:
    def __init__(self, world: World) -> None:
        self.world = world

    def ask(self, command: str, value: str) -> dict[str, Any]:
        request = {"id": str(uuid4()), "command": command, "subject": value}
        answer = Desk(self.world.runtime).answer(orjson.dumps(request))
        assert answer["state"] in ("done", "nothing found"), answer
        return answer

    def preview(self, value: str) -> dict[str, Any]:
        return self.ask("erase.preview", value)

    def erase(self, value: str) -> dict[str, Any]:
        answer = self.ask("erase", value)
        assert (answer["state"] == "done") == (answer["certificate"] is not None)
        return answer

    def restrict(self, value: str) -> dict[str, Any]:
        return self.ask("restrict", value)

    def lift(self, value: str) -> dict[str, Any]:
        return self.ask("lift", value)

    def export(self, value: str) -> dict[str, Any]:
        answer = self.ask("export", value)
        written = self.world.folder / "exports" / answer["folder"] / "export.json"
        return dict(orjson.loads(written.read_bytes()))


@pytest.fixture
def world(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> World:
    world = make_world(requests={"signed": False})
    world.now = datetime(2025, 6, 30, tzinfo=UTC)
    world.ingest(REPORTS.read_bytes().splitlines(), "infobip/messages-report")
    monkeypatch.setattr(runtimes, "Runtime", lambda settings: Runtime(settings, lambda: world.now))
    return world


@pytest.fixture(params=[CommandLine, ControlTopic])
def face(world: World, request: pytest.FixtureRequest) -> Face:
    made: Face = request.param(world)
    return made


def looked_up(world: World, value: str) -> list[Any]:
    return list(CommandLine(world).run("lookup", value, *LOOK))


def certificates(world: World) -> list[str]:
    return [p for p in world.paths() if "certificate" in p]


def test_every_face_erases_whom_a_look_up_finds(world: World, face: Face) -> None:
    (record,) = looked_up(world, HER)
    assert (record["kind"], record["account"]) == ("chat", "acme-retail")
    assert face.preview(HER)["months"][0]["identifiers"] == 1
    assert len(looked_up(world, HER)) == 1, "a preview changes nothing"
    assert face.erase(HER)["certificate"] == 0
    assert looked_up(world, HER) == []
    assert face.preview(HER)["months"] == []


def test_every_face_restricts_and_lifts(world: World, face: Face) -> None:
    assert face.restrict(HER)["changed"] is True
    assert looked_up(world, HER) == [{"restricted": True}]
    assert looked_up(world, f"whatsapp:{HER}") == [{"restricted": True}]
    assert face.restrict(HER)["changed"] is False
    assert face.lift(HER)["changed"] is True
    assert len(looked_up(world, HER)) == 1


def test_every_face_exports(world: World, face: Face) -> None:
    (record,) = face.export(HER)["records"]
    assert [i["value"] for i in record["identifiers"]] == [f"whatsapp:{HER}"]


def test_an_erasure_that_found_nothing_says_so_and_is_not_certified(world: World, face: Face) -> None:
    before = certificates(world)
    answer = face.erase(STRANGER)
    assert (answer["months"], answer["certificate"]) == ([], None)
    assert certificates(world) == before
    assert face.export(STRANGER)["records"] == []


def test_a_number_is_not_taken_for_a_stranger_on_a_channel(world: World, face: Face) -> None:
    """What a look-up shows besides the number is not erased with it: on a channel the id has to name it."""
    digits = "15551234567"
    line = json.loads(REPORTS.read_bytes().splitlines()[1])
    line |= {"channel": "MESSENGER", "destination": digits, "messageId": "m-77"}
    world.ingest([json.dumps(line).encode()], "infobip/messages-report")
    assert [r["kind"] for r in looked_up(world, digits)] == ["chat"]
    assert [m["identifiers"] for m in face.preview(digits)["months"]] == [0], "only texts that say the digits"
    assert face.preview(f"messenger:{digits}")["months"][0]["identifiers"] == 1
