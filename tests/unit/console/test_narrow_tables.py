"""Tables of many columns on a narrow terminal: no name and no number is broken, whatever the width."""

from __future__ import annotations

import pytest
from rich.text import Text

from lethe.console.cli.shell import Shell

COLUMNS = ["stream", "partition", "last_offset", "commits", "records", "split", "late", "rejected", "usage"]
STREAM = "file-01faa4774a6ac5e5b9ccb025332f91f1"
ROWS = [[STREAM, 0, 399, 1, 1_234_400, 1_234_400, 0, 0, None], ["cdr.sms", 11, 5, 1, 6, 5, 0, 1, 0]]


def printed(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rows: list[list[object]]
) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    Shell(config=None).table("Where each record went", COLUMNS, rows, right=COLUMNS[1:])
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_no_name_and_no_number_is_broken(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = printed(width, monkeypatch, capsys, ROWS)
    for whole in (STREAM, "cdr.sms", "1,234,400", "partition", "last_offset", "records"):
        assert whole in said, whole
    assert max(map(len, said.splitlines())) <= width


def test_a_row_is_a_paragraph_of_what_is_not_empty_where_there_is_no_room(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(80, monkeypatch, capsys, ROWS).splitlines() == [
        "Where each record went",
        STREAM,
        "  last_offset 399   commits 1   records 1,234,400   split 1,234,400",
        "cdr.sms",
        "  partition 11   last_offset 5   commits 1   records 6   split 5   rejected 1",
    ]
    assert "┃" in printed(160, monkeypatch, capsys, ROWS)


def test_what_comes_from_data_is_no_markup_there_either(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[list[object]] = [["[red]x[/red]", Text("5"), "\x1b[31m", *[1_000_000_000_000] * 6]]
    said = printed(80, monkeypatch, capsys, rows)
    assert "[red]x[/red]" in said
    assert "\x1b" not in said
