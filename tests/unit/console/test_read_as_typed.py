"""Plain paths and numbers that are read without the library's own reader are what it would have read."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer import _click as click
from typer.main import get_command

from lethe.console.cli import _root

TEXTS = (
    "0", "7", "10", "11", "-1", "-0", "+7", " 7", "7 ", "007", "1_0", "1e1", "7.0", "٧", "9" * 15, "9" * 20, "", ".",
    "x", "no/such/file", "there", "secret", "folder", "~", "a b", "-", "//x//y/../z", "x" * 5_000, "there/below",
)  # fmt: skip


def read(text: str, asked: Any, as_typed: bool) -> list[Any]:
    """What a command is called with for a text; nothing where it is refused."""
    told: list[Any] = []

    def one(value: Any) -> None:
        told.append(value)

    one.__annotations__["value"] = asked
    app = typer.Typer()
    app.command()(one)
    command = get_command(app)
    if as_typed:
        _root._read_as_typed(command, click.Context(command))
    with suppress(click.exceptions.UsageError):
        command(["--value", text], standalone_mode=False)
    return told


@pytest.mark.parametrize(
    "asked",
    [
        Annotated[int, typer.Option("--value")],
        Annotated[int, typer.Option("--value", min=0, max=10)],
        Annotated[int | None, typer.Option("--value", max=10)],
        Annotated[int, typer.Option("--value", min=1, max=5, clamp=True)],
        Annotated[Path, typer.Option("--value")],
        Annotated[Path | None, typer.Option("--value")],
        Annotated[Path, typer.Option("--value", exists=True)],
        Annotated[Path, typer.Option("--value", dir_okay=False)],
        Annotated[Path, typer.Option("--value", resolve_path=True)],
        Annotated[bool | None, typer.Option("--value/--no-value")],
        Annotated[float, typer.Option("--value")],
        Annotated[str, typer.Option("--value")],
    ],
)
def test_it_is_what_the_library_reads(asked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").touch()
    (tmp_path / "secret").touch(0o000)
    (tmp_path / "folder").mkdir()
    for text in TEXTS:
        mine, theirs = read(text, asked, as_typed=True), read(text, asked, as_typed=False)
        assert mine == theirs, text
        assert [type(value) for value in mine] == [type(value) for value in theirs]


@pytest.mark.parametrize("annotation", [int, Path])
def test_plain_ones_are_read_here(annotation: type) -> None:
    info = typer.Option("--value")
    assert _root._plainly("7", annotation, info) == annotation("7")
    assert _root._plainly("7 x\0", annotation, info) is None
