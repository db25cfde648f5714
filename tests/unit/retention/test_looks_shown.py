"""What a look shows: on a narrow terminal and a wide one, in colour or not, typed or read, revealed or refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from retention_world import World, report
from test_commands import HER, LOOK, MARCH, Prompt
from typer.testing import CliRunner

from lethe.console.cli.main import app
from lethe.schemas.errors import LetheError


@pytest.fixture
def prompt(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> Prompt:
    world = make_world()
    world.now = MARCH.replace(day=31)
    world.ingest([report(i, n, MARCH) for i, n in enumerate((HER, "+4915112345678", HER))])
    return Prompt(world, monkeypatch)


@pytest.mark.parametrize("width", [40, 80, 119, 160])
def test_no_time_and_no_name_is_folded_at_any_width(
    prompt: Prompt, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = prompt.plain("lookup", HER, *LOOK)
    records = [r["record"] for r in prompt.run("lookup", HER, *LOOK)]
    assert len(records) == 2
    assert shown.count("2025-03-09 12:00:00") == 2
    if width < 120:
        for record in records:
            assert record in shown


def test_nothing_is_coloured_where_nobody_wants_it(prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in prompt.plain("lookup", HER, *LOOK)


def test_what_would_steer_a_terminal_is_escaped(prompt: Prompt) -> None:
    prompt.world.ingest([report(7, HER, MARCH, account="acme\x1b[2Jcorp"[:20])])
    shown = prompt.plain("lookup", HER, *LOOK)
    assert "\x1b" not in shown


def test_a_value_can_be_read_where_nobody_else_sees_it(prompt: Prompt) -> None:
    arguments = ["--config", str(prompt.config), "lookup", "-", *LOOK]
    result = CliRunner().invoke(app, arguments, input=f"{HER}\n")
    assert result.exit_code == 0
    assert "2 communications" in result.stdout
    assert HER not in result.stdout


def test_nothing_found_and_not_to_be_read_are_two_answers(prompt: Prompt) -> None:
    nothing = prompt.result("lookup", "+447700900123", *LOOK)
    assert (nothing.exit_code, nothing.stdout.strip()) == (0, "[]")
    unread = prompt.result("lookup", "1", *LOOK)
    assert unread.exit_code != 0 or "country code" in unread.output
    assert nothing.output != unread.output


def test_a_record_is_revealed_under_a_case_and_written_down(prompt: Prompt) -> None:
    name = prompt.run("lookup", HER, *LOOK)[0]["record"]
    found = prompt.run("reveal", name, *LOOK)
    assert [(p["kind"], p["value"]) for p in found["parties"]] == [("msisdn", HER[1:])]
    entry = prompt.audit()[-1]
    assert (entry["action"], entry["record"], entry["count"]) == ("reveal", name, 1)
    assert HER[1:] not in str(entry)
    with pytest.raises(LetheError, match="no such record"):
        prompt.run("reveal", "cdr/0/99", *LOOK)
    assert prompt.audit()[-1]["count"] == 0


def test_a_restricted_person_is_revealed_to_the_law_alone(prompt: Prompt) -> None:
    name = prompt.run("lookup", HER, *LOOK)[0]["record"]
    prompt.run("restrict", HER, "--case", "R-1")
    with pytest.raises(LetheError, match="restricted"):
        prompt.run("reveal", name, *LOOK)
    assert prompt.audit()[-1]["restricted"] is True
    found = prompt.run("reveal", name, *LOOK, "--law", "court order 12")
    assert found["parties"][0]["value"] == HER[1:]
