"""What a person types never comes back in an error: a number in every argument and option of every command in turn."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from retention_world import World, report
from typer._click import Context
from typer.main import get_command

from lethe.console.cli import main
from lethe.console.cli.running import demo, traffic
from lethe.schemas.errors import LetheError
from lethe.streams.broker import topics
from lethe.testing.brokers.embedded import EmbeddedBroker

PLANTED = "923331234567"
SPELLINGS = (
    f"+{PLANTED}",
    f"x '{PLANTED}' jane.{PLANTED}@example.org",
    f"SELECT {PLANTED}x",
    f"/no/{PLANTED}",
)
USUAL = {"--format": "infobip/sms-report", "--count": "1", "--review": "2026-01-01", "--month": "2025-03",
         "pattern": "all", "month": "2025-03", "date": "2025-03-01", "column": "account", "number": "0",
         "action": "lookup", "record": "cdr/0/1", "--seed": "1", "--to": "vault"}  # fmt: skip


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that there is, by the words that call it."""
    root = get_command(main.app)
    context = Context(root)

    def below(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
        if not hasattr(command, "list_commands"):
            yield path, command
            return
        for name in command.list_commands(context):
            yield from below(command.get_command(context, name), (*path, name))

    return below(root, ())


def calls() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each command with the planted number in one place and what is usual in the others it needs."""
    for path, command in commands():
        named = [p for p in command.params if p.name != "help" and not getattr(p, "is_flag", False)]
        for planted in named:
            for spelling in SPELLINGS:
                words: list[str] = []
                for param in named:
                    name = param.opts[0]
                    value = spelling if param is planted else USUAL.get(name, "x") if param.required else None
                    if value is not None:
                        words += [f"{name}={value}"] if name.startswith("-") else [value]
                yield f"{' '.join(path)} {planted.opts[0]}", (*path, *words)
        yield f"{' '.join(path)} option", (*path, f"--{PLANTED}=1")
        yield f"{' '.join(path)} more", (*path, *(["x"] * 4), PLANTED)
    yield "no command", (PLANTED,)
    yield "no configuration", ("--config", f"/no/{PLANTED}.toml", "ledger")


@pytest.fixture
def world(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    world = make_world()
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    world.ingest([report(1, "+4915112345678", datetime(2025, 3, 9, tzinfo=UTC))])
    monkeypatch.setenv("LETHE_ROOT", str(world.root))
    monkeypatch.setenv("LETHE_KEYS_DIR", str(world.keys))
    monkeypatch.setenv("LETHE_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.chdir(tmp_path)

    def refused(*_: object, **__: object) -> None:
        raise LetheError("not in this test")

    monkeypatch.setattr(EmbeddedBroker, "start", refused)
    monkeypatch.setattr(demo, "_empty", refused)
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: None)
    monkeypatch.setattr(traffic, "produce", refused)
    monkeypatch.setattr(topics, "identify", refused)
    monkeypatch.setattr(main, "leave", sys.exit)
    return world


def test_no_error_repeats_a_value(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: set[str] = set()
    repeated: dict[str, str] = {}
    for what, arguments in calls():
        monkeypatch.setattr(sys, "argv", ["lethe", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.main()
        out, err = capfd.readouterr()
        said = err + caplog.text + (out if ended.value.code else "")  # what went well may be an answer
        caplog.clear()
        seen.add(what)
        if PLANTED[3:] in "".join(c for c in said if c.isalnum()):
            repeated[what] = f"{arguments}: {said[-300:]}"
    assert len(seen) > 200, "the commands are found at all"
    assert not repeated, "\n".join(repeated.values())
