"""What a command says when somebody presses Ctrl-C, or does not agree to what it asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import typer
from typer._click import Context

from lethe.console.cli.shell import NOTHING_CHANGED, Shell, fail, interrupted

CALLED: Final = "lethe.called"
"""Under which name a context keeps the command that was called."""
INTERRUPTED: Final[Mapping[str, str]] = {
    "worker": "what is committed is in; started again it goes on behind it",
    "ingest": "what is committed is in; the same command goes on with the rest",
    "keys": "the same command finishes what was begun; lethe keys list shows what there is",
    "quarantine": "records that have landed stay; a replay goes on when it is asked again",
    "compact": "what was merged stays merged and no row is lost; the same command goes on with the rest",
    "expire": "what has a certificate is done; the same command, or a worker's next sweep, finishes what was begun",
    "hold": "lethe hold list shows what is in force; the same command finishes what was begun, and an export without "
    "its manifest.json is not whole",
    "export": "no file was written",
    "erase": "it may have begun: the same command finds what is left, erases it and writes the certificate",
    "restrict": "the same command finishes what was begun",
    "verify": "nothing was changed, and what was not read is not verified",
    "evidence": "no file was written",
    "topics": "topics that were made are there; the same command makes the rest",
    "adjustments": "what was written stands, once; the same command goes on with the rest",
    "codes": "what was approved is approved; the same command goes on with the rest",
    "users": "lethe users list shows what there is",
    "generate": "what was written is not all of it",
}
"""What has been done and how to go on where somebody pressed Ctrl-C, by command; of the others: nothing was changed."""


@contextmanager
def ended_in_words(ctx: Context | None) -> Iterator[None]:
    """Say what has been done when somebody presses Ctrl-C or does not agree: the library would say nothing."""
    asked = None if ctx is None else ctx.find_object(Shell)
    as_json = asked is not None and asked.json
    try:
        yield
    except KeyboardInterrupt as stop:
        command = None if ctx is None else ctx.meta.get(CALLED)
        interrupted(str(stop) or INTERRUPTED.get(str(command), NOTHING_CHANGED), as_json)
    except typer.Abort:
        fail("nothing was done: it was not agreed to", as_json)
