"""The `lethe` command."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from lethe.console.cli._root import LazyGroup
from lethe.console.cli.shell import Shell, errors_in_one_line, leave
from lethe.operations.telemetry import traces

app = typer.Typer(
    name="lethe",
    cls=LazyGroup,
    help="Remembers the traffic, forgets the people: splits communication detail records into an encrypted window of "
    "identifiers and an identifier-free archive.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"lethe {version('lethe')}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", help="Configuration file; default: lethe.toml, if it is there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Answer lists in CSV.")] = False,
    version: Annotated[  # noqa: ARG001  (its callback answers)
        bool, typer.Option("--version", help="Say which version this is.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    context.obj = Shell(config=config, json=as_json or as_csv, csv=as_csv)


def main() -> None:
    """Run the command line: status 0 done, 1 failed, 2 wrong usage."""
    # A plug-in that happens to be installed would be shown every value that is validated.
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    # Nothing here multiplies matrices, and numpy would start a thread for each processor when it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    arguments = sys.argv[1:]
    # These may stand anywhere before `--`, as every command has them.
    machine = False
    for option in ("--json", "--csv"):
        head = arguments[: arguments.index("--")] if "--" in arguments else arguments
        if option in head:
            at, machine = head.index(option), True
            arguments = [option, *arguments[:at], *arguments[at + 1 :]]
    try:
        with errors_in_one_line(machine):
            app(args=arguments, prog_name="lethe")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    with suppress(KeyboardInterrupt):  # all is done and said
        traces.flush()
    leave(status)


if __name__ == "__main__":
    main()
