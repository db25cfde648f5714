"""Where the `lethe` command begins: what it is made of is imported while no garbage is collected.

Ctrl-C meanwhile ends the process at once, in one line: nothing has been done yet, and what is being imported would turn
it into a trace, or into something else.
"""

from __future__ import annotations

import gc
import os
import signal  # and no typing: until this is here Ctrl-C prints a trace
import sys


def main() -> None:
    """Run the command line; see `lethe.console.cli.main`."""
    # Where a shell has put the command behind others, Ctrl-C is not for it.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _nothing_done)
    gc.disable()  # until a command begins: nearly all that is made stays, and looking at it costs a tenth
    from lethe.console.cli.main import main as run

    run()


def command_begins() -> None:
    """Let Ctrl-C be what it is elsewhere, an exception: from here on something may have been done."""
    if signal.getsignal(signal.SIGINT) is _nothing_done:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _nothing_done(_signal: int, _frame: object) -> None:
    arguments = sys.argv[1:]
    head = arguments[: arguments.index("--")] if "--" in arguments else arguments
    words = "interrupted: nothing was changed"
    line = f'{{"error":"{words}"}}' if {"--json", "--csv"} & set(head) else f"lethe: {words}"
    try:
        os.write(2, f"\n{line}\n".encode() if os.isatty(2) else f"{line}\n".encode())
    finally:
        os._exit(130)
