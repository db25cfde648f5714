"""What every command shares: settings, output as tables or JSON, errors in one line, exit codes."""

from __future__ import annotations

import getpass
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import orjson
import typer

from lethe.console.cli._garbage import uncollected
from lethe.console.cli._writing import as_csv, escaped, fits, jsonable, paragraphs, text_of
from lethe.console.cli.who import terminal, who
from lethe.schemas.errors import ConfigurationError, InputError, Interrupted, LetheError
from lethe.schemas.retention.calendar import instant

if TYPE_CHECKING:  # each costs the help a part of a second: imported where it is used
    from rich.console import Console

    from lethe.console.cli.remote.server import Server
    from lethe.operations.asker import Asker
    from lethe.operations.proof.signing import KeyHistory
    from lethe.operations.runtime import Runtime
    from lethe.operations.settings import Settings
    from lethe.schemas.retention.calendar import Month

FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130
NOTHING_CHANGED: Final = "nothing was changed"


@dataclass
class Shell:
    """State of one invocation: where the configuration is, and how to answer."""

    config: Path | None = None
    json: bool = False
    """Answer for a machine: in JSON, or in CSV."""
    csv: bool = False
    makes: bool = False
    """Whether the command may make a warehouse that is not there; others say where they looked for it."""

    @cached_property
    def server(self) -> Server | None:
        """The service that commands go through; None: they are done here."""
        if not os.environ.get("LETHE_SERVER"):
            return None
        from lethe.console.cli.remote.server import Server

        return Server.named(os.environ)

    @cached_property
    def settings(self) -> Settings:
        """The settings, read once. Where a group shares the keys, what this process makes is for that group, too.

        Where commands go through a service there are none.
        """
        from lethe.operations.settings import load

        if self.server is not None:
            raise ConfigurationError(
                "LETHE_SERVER is set, and this command does not go through the service: it works on the machine of the "
                "installation, without LETHE_SERVER"
            )
        settings = load(self.config)
        if settings.keys_group is not None:
            os.umask(0o007)  # tables too, which libraries write
        return settings

    @cached_property
    def runtime(self) -> Runtime:
        """Ring, warehouse and transform, each made when first used.

        Raises `ConfigurationError` when there is no warehouse and the command is none that makes one.
        """
        with uncollected():
            from lethe.operations.runtime import Runtime

        runtime = replace(Runtime(self.settings), topics=_ask_topics, ends=_ask_ends)
        if not self.makes and not runtime.has_warehouse():
            raise ConfigurationError(
                f"there is no warehouse at {self.settings.root} ({_read_from(self.config)}); name the right "
                "configuration with --config; lethe worker and lethe ingest make a new warehouse"
            )
        return runtime

    @cached_property
    def out(self) -> Console:
        """Standard output: as wide as the terminal or `COLUMNS` says, else 160 characters."""
        from rich.console import Console

        told = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
        return Console(highlight=False, markup=False, emoji=False, width=None if told else 160)

    def answer(self, value: Any, show: Callable[[], None]) -> None:
        """Print a value as JSON or CSV, or let `show` print it for a person."""
        if self.csv:
            sys.stdout.write(as_csv(value))
        elif self.json:
            sys.stdout.write(
                orjson.dumps(value, default=jsonable, option=orjson.OPT_INDENT_2).decode() + "\n"
            )
        else:
            show()

    def table(
        self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[str] = ()
    ) -> None:
        """Print rows as a table; what is in them is text, whatever it looks like.

        Where words or numbers would have to be broken to fit, each row is a paragraph of what is not empty or 0.
        """
        from rich.table import Table
        from rich.text import Text

        out = self.out
        if not fits(columns, rows, out.width):
            for line in paragraphs(title, columns, rows, out.width):
                self.line(line)
            return
        table = Table(title=Text(title) if title else None, title_justify="left", header_style="bold")
        for column in columns:
            table.add_column(column, justify="right" if column in right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(cell if isinstance(cell, Text) else Text(text_of(cell)) for cell in row))
        out.print(table)

    def say(self, line: str, style: str | None = None) -> None:
        """Print one line for a person; with --json nothing is added to the JSON."""
        if not self.json:
            self.out.print(escaped(line), style=style)

    def line(self, text: str) -> None:
        """Print one line as it is: a terminal may break it, but no name or number in it is folded."""
        if not self.json:
            self.out.print(escaped(text), soft_wrap=True)


@contextmanager
def progress(
    title: str, total: int | None, shown: bool = True
) -> Iterator[Callable[[int, int | None], None]]:
    """Yield a progress bar on standard error when it is a terminal; yields `update(done, total)`."""
    if not shown or not sys.stderr.isatty():
        yield _unseen
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        console=console, transient=False,
    )  # fmt: skip
    with bar:
        task = bar.add_task(title, total=total)

        def update(done: int, of: int | None = None) -> None:
            bar.update(task, completed=done, total=of if of is not None else total)

        yield update


def _unseen(done: int, of: int | None = None) -> None:
    """Take a step of work that nobody watches."""


@contextmanager
def errors_in_one_line(as_json: bool) -> Iterator[None]:
    """End the process with status 1 and one line when something a person can act on went wrong."""
    try:
        yield
    except InputError as error:
        fail(str(error), as_json, WRONG_USAGE)
    except LetheError as error:
        fail(str(error), as_json)
    except KeyboardInterrupt as stop:
        interrupted(str(stop) or NOTHING_CHANGED, as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(FAILED) from None
    except Exception as error:  # noqa: BLE001  (the text of a stranger's exception may quote what it choked on)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        fail(f"unexpected {type(error).__name__} at {where} in {frame.name}; nothing more was done", as_json)


def interrupted(words: str, as_json: bool) -> NoReturn:
    """Say what has been done when somebody pressed Ctrl-C, and exit as shells expect it."""
    if sys.stderr.isatty():
        sys.stderr.write("\n")  # behind the ^C that the terminal has shown
    fail(f"interrupted: {words}", as_json, INTERRUPTED)


def leave(status: int) -> NoReturn:
    """End the process at once, with everything said.

    Not through the interpreter's own end: the table libraries keep threads of their own, and one that is still at work
    while modules are torn down brings the process down with a signal after its work is done and its answer printed.
    """
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        status = status or FAILED
    logging.shutdown()
    os._exit(status)


def fail(message: str, as_json: bool, status: int = FAILED) -> NoReturn:
    """Say what went wrong on standard error and exit. No number or address that was typed is said again."""
    line = " ".join(_without_typed(message, sys.argv[1:]).split())
    if as_json:
        sys.stderr.write(orjson.dumps({"error": line}).decode() + "\n")
    else:
        sys.stderr.write(f"lethe: {escaped(line)}\n")
    raise SystemExit(status)


_ADDRESS: Final = re.compile(r"\+?\d(?:[\s().\-]{0,2}\d){8,}|[^\s'\"<>(),;=]+@[^\s'\"<>(),;]+")
"""What may be a number or an address within an argument: also in a statement, or where a path was meant."""


def _without_typed(message: str, arguments: Sequence[str]) -> str:
    """Put a sign in place of what may be somebody's number or address in what was typed, where a message repeats it."""
    typed = {found for text in arguments for found in _ADDRESS.findall(text)}
    for text in sorted(
        typed | {"".join(filter(str.isdigit, t)) for t in typed if "@" not in t}, key=len, reverse=True
    ):
        message = message.replace(text, "…")
    return message


def shell(context: typer.Context, makes: bool = False) -> Shell:
    """Return the shell of an invocation; `makes` for a command that makes a warehouse where there is none."""
    found = context.find_object(Shell)
    assert found is not None  # noqa: S101  (made by the root callback)
    found.makes = makes
    return found


def _ask_topics(settings: Settings, places: Collection[str]) -> dict[str, dict[str, int | None]]:
    from lethe.streams.broker.kept import kept

    return kept(settings, places)


def _ask_ends(settings: Settings) -> dict[tuple[str, int], int]:
    from lethe.streams.broker.kept import ends

    return ends(settings)


def _read_from(config: Path | None) -> str:
    named = config or os.environ.get("LETHE_CONFIG")
    if named:
        return f"configuration {named}"
    if Path("lethe.toml").exists():
        return f"configuration {Path('lethe.toml').resolve()}"
    return f"no configuration: {Path.cwd()} has no lethe.toml, so the defaults count"


def moment(text: str | None, what: str) -> datetime | None:
    """Return a time or date given on the command line, in UTC unless it says otherwise; wrong usage if it is none."""
    if text is None:
        return None
    try:
        return instant(datetime.fromisoformat(text))
    except ValueError:
        raise typer.BadParameter(
            f"{what}: a date or time such as 2026-10-01 or 2026-10-01T12:00:00+05:00"
        ) from None


def show_verifier_keys(invocation: Shell, history: KeyHistory, told: str, **more: str) -> None:
    """Show the verifier keys in force under a line of text; in JSON those before them too, and `more`."""
    current = history.sets[-1]
    answer = {
        "name": history.name,
        "set": len(history.sets),
        "keys": [str(key) for key in current.keys],
        "earlier": [str(key) for keys in history.sets[:-1] for key in keys.keys],
        **more,
    }

    def show() -> None:
        invocation.say(told)
        # As they are, a line each: to be copied, and never to be broken.
        for key in current.keys:
            typer.echo(str(key))

    invocation.answer(answer, show)


def parse_month(text: str) -> Month:
    """Return a month given on the command line; `InputError` if it is none."""
    from lethe.schemas.retention.calendar import Month

    try:
        return Month.parse(text)
    except ValueError:
        raise InputError("a month is written 2026-10") from None


def asker(case: str | None = None, purpose: str | None = None, law: str | None = None) -> Asker:
    """Say who asks at this keyboard, for which case and why; `InputError` where that names somebody."""
    from lethe.operations.asker import Asker

    return Asker.of(who(), case, purpose, law, source=terminal()).names_nobody()


def at_a_terminal() -> bool:
    """Tell whether there is a person to ask."""
    return sys.stdin.isatty()


def agree(invocation: Shell, yes: bool, what: str, word: str) -> None:
    """Ask for `word`, typed out, before `what` is destroyed for ever; `yes` says that it was agreed to already.

    Raises wrong usage where there is nobody to ask, and `Abort` when another word is typed.
    """
    if yes:
        return
    if invocation.json or not at_a_terminal():
        raise typer.BadParameter(f"nothing was done: {what}; without a terminal add --yes to agree")
    if prompt(f"{what}. Type {word} to agree") != word:
        raise typer.Abort


def prompt(question: str) -> str:
    """Ask at the terminal and return the answer without blanks around it; raises `Abort` where the input ends.

    Raises `Interrupted` for Ctrl-C: whatever the command does, at a question it has not begun.
    """
    signal.siginterrupt(signal.SIGINT, True)
    try:
        return str(typer.prompt(question, default="", show_default=False)).strip()
    except typer.Abort as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise Interrupted(NOTHING_CHANGED) from None
        raise


def typed(value: str) -> str:
    """Return the value of an argument; `-` reads it from a prompt or standard input, where nobody else sees it.

    An argument is visible to every user of the machine and stays in the history of the shell.
    """
    if value != "-":
        return value
    return secret("Value (not shown): ")


def secret(question: str) -> str:
    """Read what nobody else is to see: from a prompt, or a line of standard input, its end included."""
    signal.siginterrupt(signal.SIGINT, True)
    try:
        return getpass.getpass(question) if sys.stdin.isatty() else sys.stdin.readline(4096)
    except KeyboardInterrupt:
        raise Interrupted(NOTHING_CHANGED) from None


def read_file(path: Path) -> bytes:
    """Return what is in a file; raises `LetheError` where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise LetheError(f"{path}: {error.strerror}") from None


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner can read; raises `LetheError` where it cannot be, or is there."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise LetheError(f"{path}: {error.strerror}; nothing was written") from None


def needs_server(invocation: Shell, told: str) -> Server:
    """Return the service commands go through; raises `ConfigurationError` that begins with what is `told`."""
    if invocation.server is None:
        raise ConfigurationError(f"{told} set LETHE_SERVER, such as LETHE_SERVER=https://lethe.example")
    return invocation.server


def typed_each(values: Sequence[str], most: int) -> list[str]:
    """Return the values of arguments as `typed` does; `-` reads a list from standard input, one a line, at most `most`
    and one more, so that a list that is too long is seen to be.
    """
    found: list[str] = []
    for value in values:
        if value != "-" or sys.stdin.isatty():
            found.append(typed(value))
        else:
            while len(found) <= most and (line := sys.stdin.readline(4096)):
                found += [line.strip()] if line.strip() else []
    return found
