"""The root of the command line: the commands there are, each imported when it is called, and what is wrong usage."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import typer
from typer import _click as click  # typer carries a copy of its own; its exceptions are no others
from typer._click import exceptions
from typer.core import TyperGroup
from typer.main import get_group

from lethe.console.cli._early import command_begins
from lethe.console.cli._garbage import collect_from_now_on
from lethe.console.cli._interrupted import CALLED, ended_in_words

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "worker": (
        "running.operate",
        "Consume the configured topics, split every record and commit both halves exactly once.",
    ),
    "ingest": (
        "running.operate",
        "Back-fill from files: exactly once per content, so a file adds nothing the second time.",
    ),
    "doctor": (
        "running.operate",
        "Check configuration, broker, clocks, keys and tables; say what is wrong and what to do about it.",
    ),
    "keys": ("keeping.signing", "The keys of the months, and those that sign the integrity log."),
    "lookup": (
        "people.window",
        "Every communication of a number, address or message id inside the window, newest first.",
    ),
    "reveal": ("people.window", "The identifiers of one record, decrypted."),
    "quarantine": (
        "people.quarantine",
        "Records that were rejected: what, why, on request their values, and another try.",
    ),
    "sql": ("keeping.archive", "Query the archive with SQL (DuckDB). It holds no identifier of an end user."),
    "ledger": ("keeping.archive", "What was taken in and where each record went, per stream and partition."),
    "tables": (
        "running.compaction",
        "Show the files of each table and month: how many, how large, in which levels, and what is due to be merged.",
    ),
    "compact": (
        "running.compaction",
        "Merge small files into few sorted ones with the same rows. Workers and look-ups go on meanwhile.",
    ),
    "expire": (
        "keeping.retention",
        "Forget every month whose window has ended and every archive year that is over.",
    ),
    "certificates": ("keeping.retention", "Certificates of what was forgotten."),
    "policy": ("keeping.retention", "How long what is kept."),
    "detect": (
        "people.detect",
        "Look for a fraud pattern in a month: ait, otp, grey, burst, recycled or all. Blocks are shown, no numbers.",
    ),
    "hold": ("people.holds", "Legal holds: what must be kept although its time has come."),
    "export": (
        "people.rights",
        "Everything about a person in the window, for that person, as JSON and CSV; with --answer also as a letter.",
    ),
    "erase": (
        "people.rights",
        "Erase a person from the window: preview, then every row and page entry, then the files that held them.",
    ),
    "restrict": (
        "people.rights",
        'Keep a person\'s records from being shown: look-ups answer "restricted" unless a reason of law is given.',
    ),
    "audit": ("people.audit", "The audit: who did what and why, verified; and who looked at a person."),
    "verify": (
        "keeping.proof",
        "Verify the archive: every row, the ledger and the signed log; status 1 names what is not as it was.",
    ),
    "evidence": (
        "keeping.proof",
        "The evidence of one record, in one file: the original inside the window, proof of the archive row for ever.",
    ),
    "verify-evidence": (
        "keeping.proof",
        "Verify an evidence file. Needs nothing but the file and a verifier key: no configuration, no network.",
    ),
    "case-file": (
        "people.case_files",
        "Case files of the console: verify one. Needs nothing but the file and a verifier key.",
    ),
    "topics": (
        "running.topics",
        "Topics of the broker: those of `sources` and Lethe's own, made where they are missing.",
    ),
    "adjustments": ("keeping.adjustments", "What is not to be billed: superseded reports and repeats."),
    "quality": (
        "keeping.quality",
        "Show what is different in the records of each format from what they were before, newest first.",
    ),
    "codes": ("keeping.codes", "Codes the archive shows by a stand-in, and what those stand for."),
    "serve": (
        "running.serve",
        "Serve the console and its API: it holds the keys, so that nobody who uses it must.",
    ),
    "users": ("running.serve", "Accounts of the service."),
    "login": (
        "people.sign_in",
        "Sign in at the service that LETHE_SERVER names; commands go through it from then on.",
    ),
    "logout": ("people.sign_in", "End the session at the service, there and here."),
    "whoami": (
        "people.sign_in",
        "Say who is signed in at the service, as what, and until when at the latest.",
    ),
    "case": ("people.desk", "Cases of one's own at a service: every look belongs to one."),
    "grants": ("people.desk", "Grants at a service: what one may do in a case, and until when."),
    "approvals": ("people.desk", "Requests of others at a service that wait for a second person."),
    "formats": ("running.formats", "The declared formats: what of a record goes where."),
    "residence": ("running.formats", "In which country the site's people are, by a table."),
    "own-numbers": ("running.formats", "The site's own numbers, which are nobody's in particular."),
    "generate": ("running.traffic", "Made-up records in a real shape, one a line. Nobody's data is in them."),
    "demo": (
        "running.demo",
        "Show the whole path on made-up traffic: broker, worker, look-up, billing. Can be repeated.",
    ),
}
"""Name of a command -> the module it stands in, and its help in one line, known without importing it."""


_WHOLE: Final = re.compile(r"-?[0-9]{1,15}")


def _plainly(value: Any, annotation: Any, info: Any) -> Any:
    """Return what a plain text says, as the library would: a path or a whole number; None where that has to read it.

    It has to for all that it would refuse, so that it says so.
    """
    if not isinstance(value, str) or info.parser is not None:
        return None
    if annotation is int and _WHOLE.fullmatch(value):
        number = int(value)
        within = (info.min is None or number >= info.min) and (info.max is None or number <= info.max)
        return number if within and not info.clamp else None
    asked = info.exists or info.resolve_path or info.allow_dash or info.writable or info.path_type is not None
    if annotation is Path and value and "\0" not in value and info.file_okay and info.dir_okay and not asked:
        # What cannot be looked at is not there, for the library too; `Path.exists` would raise.
        there = os.path.exists(value)  # noqa: PTH110
        return Path(value) if not there or os.access(value, os.R_OK) else None
    return None


class _AsTyped:
    """Reads a parameter that is a text, or a list of texts, as it was typed, and plain paths and numbers; what else was
    typed the library reads.

    It reads every parameter through pydantic, also what was not typed, and importing that costs a command a sixth of
    its start.
    """

    def coerce(self, value: Any, param: Any, ctx: click.Context) -> Any:
        """Return the value of a parameter in its type; the signature is that of the library's `RuntimeParam`."""
        annotation, several = param.type_descriptor.annotation, param.multiple or param.nargs == -1
        if value is None:
            return () if several else None
        if param.type_descriptor.parameter_info.parser is None and annotation in (str, list[str]):
            return list(map(str, value)) if several else str(value)
        if (plain := _plainly(value, annotation, param.type_descriptor.parameter_info)) is not None:
            return plain
        param._runtime_param = None
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)


def _read_as_typed(command: click.Command, ctx: click.Context) -> None:
    param: Any
    for param in command.get_params(ctx):  # the option for help among them
        param._runtime_param = _AsTyped()
    for one in command.commands.values() if isinstance(command, TyperGroup) else ():
        _read_as_typed(one, ctx)


_OPTION: Final = re.compile(r"-[a-zA-Z]|--[a-z]+(-[a-z]+){0,3}")


class LazyGroup(TyperGroup):
    """The commands of `COMMANDS`. Wrong usage is answered without repeating what was typed, which may be a number."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (the library's signature)
        """List the names, without importing anything."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command and return the command."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"lethe.console.cli.{COMMANDS[cmd_name][0]}")
        app = new_app()
        app.callback()(_nothing)
        module.register(app)
        command = get_group(app).get_command(ctx, cmd_name)
        if command is not None:
            _read_as_typed(command, ctx)
        collect_from_now_on()
        ctx.meta[CALLED] = cmd_name  # from here on it may have done something
        command_begins()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands and their one-line helps, without importing anything."""
        width = formatter.width - 6 - max(map(len, COMMANDS))
        with formatter.section("Commands"):
            formatter.write_dl([(name, _cut(text, width)) for name, (_, text) in COMMANDS.items()])

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the options of the root."""
        params: list[Any] = super().get_params(ctx)
        for param in params:
            param._runtime_param = _AsTyped()
        return params

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the options of the root."""
        with ended_in_words(None), _without_values():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        with ended_in_words(ctx), _without_values():
            return super().invoke(ctx)


def new_app(help_text: str | None = None) -> typer.Typer:
    """Make an app or a group of commands whose help is plain text: `[/INDEX]` in it means what it says."""
    return typer.Typer(
        help=help_text, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
    )


def _nothing() -> None:
    """Make a group of an app that has one command only."""


def _cut(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    return text[: max(width - 1, 10)].rsplit(" ", 1)[0] + "…"


@contextmanager
def _without_values() -> Iterator[None]:
    """Raise wrong usage again, without what was typed: it ends in logs of terminals and in pasted questions."""
    try:
        yield
    except exceptions.UsageError as error:
        said = _said(error)
        if said is None:
            raise
        raise exceptions.UsageError(said, error.ctx) from None


def _said(error: exceptions.UsageError) -> str | None:
    """Return what to say instead of the library's words, or None where those are free of values."""
    if isinstance(error, exceptions.NoSuchOption):
        # A word of letters is no number and no address: whoever mistyped an option wants to see which.
        typed = f" {error.option_name}" if _OPTION.fullmatch(error.option_name) else ""
        there = sorted(_options(error) or error.possibilities or ())
        return f"There is no such option{typed}" + (f"; there are {', '.join(there)}." if there else ".")
    if isinstance(error, exceptions.BadParameter):
        if isinstance(error, exceptions.MissingParameter) or error.param is None:
            return None  # says which is missing, or was raised by a command, in words of its own
        hint, kind = error.param.get_error_hint(), _kind(error)
        return f"Invalid value for {hint}" + (f": {kind} is needed." if kind else ".")
    if error.message.startswith("Got unexpected extra"):
        return "There are more arguments than the command takes: put a value with spaces into quotes."
    if error.message.startswith("No such command"):
        there = sorted(_commands(error))
        meant = get_close_matches(_quoted(error.message), there, 1)
        listed = "--help lists them" if there == sorted(COMMANDS) else f"there are {', '.join(there)}"
        return "There is no such command" + (f"; did you mean {meant[0]}?" if meant else f"; {listed}.")
    return None


def _commands(error: exceptions.UsageError) -> set[str]:
    """Return the commands of the group that was called."""
    group = None if error.ctx is None else error.ctx.command
    return set(group.commands) if isinstance(group, TyperGroup) and group.commands else set(COMMANDS)


def _options(error: exceptions.NoSuchOption) -> set[str]:
    """Return the options of the command that was called, by their long names."""
    if error.ctx is None:
        return set()
    return {
        name for param in error.ctx.command.get_params(error.ctx) for name in param.opts if name[:2] == "--"
    }


def _quoted(message: str) -> str:
    return message.partition("'")[2].partition("'")[0]


def _kind(error: exceptions.BadParameter) -> str | None:
    """Name what a parameter takes, such as INTEGER or the numbers from which to which."""
    least, most = getattr(error.param, "min", None), getattr(error.param, "max", None)
    if least is not None:
        return f"a number from {least:,}" + (" on" if most is None else f" to {most:,}")
    shown = getattr(error.param, "display_type", None)
    return None if shown is None or error.ctx is None else str(shown(error.ctx))
