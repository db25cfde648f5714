"""Ctrl-C before a command has begun: it ends the process at once, in one line, for nothing has been done yet.

What is being imported meanwhile would turn it into a trace, or into something else.
"""

from __future__ import annotations

import os
import signal  # and no typing: until all this is here Ctrl-C prints a trace
import sys


def nothing_begun() -> None:
    """Let Ctrl-C end the process. Where a shell has put the command behind others, it is not for it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def command_begins() -> None:
    """Let Ctrl-C be what it is elsewhere, an exception: from here on something may have been done."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_signal: int, _frame: object) -> None:
    arguments = sys.argv[1:]
    head = arguments[: arguments.index("--")] if "--" in arguments else arguments
    words = "interrupted: nothing was changed"
    line = f'{{"error":"{words}"}}' if {"--json", "--csv"} & set(head) else f"lethe: {words}"
    try:
        os.write(2, f"\n{line}\n".encode() if os.isatty(2) else f"{line}\n".encode())
    finally:
        os._exit(130)
