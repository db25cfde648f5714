"""Looks that end: what does not answer in time is said to hang, and the next one is looked at."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from lethe.schemas.errors import LetheError

SECONDS: Final = 10.0
"""How long a look may take for its next finding."""


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found, and what to do about it."""

    what: str
    state: Literal["ok", "warning", "wrong"]
    found: str
    advice: str = ""


Look = Callable[[], Iterator[Check | None]]
"""Yields what it finds, None for a step that is done without a finding; raises `LetheError` with what is wrong."""


def bounded(what: str, look: Look, seconds: float = SECONDS) -> Iterator[Check]:
    """Yield what a look finds, and that it failed or hangs if it does.

    It runs in a thread of its own; one that hangs is left behind, and ends with the process. So a look must not call a
    library that holds the interpreter's lock while it waits before others have shown that what it waits for answers.
    """
    found: queue.SimpleQueue[Check | type[_Ended] | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            for check in look():
                found.put(check)
        except LetheError as error:
            found.put(Check(what, "wrong", str(error)))
        except Exception as error:  # noqa: BLE001  (a stranger's text may quote what it choked on)
            found.put(
                Check(what, "wrong", f"unexpected {type(error).__name__}", "the next checks may say why")
            )
        finally:
            found.put(_Ended)

    threading.Thread(target=run, daemon=True, name=f"doctor {what}").start()
    while True:
        try:
            check = found.get(timeout=seconds)
        except queue.Empty:
            yield hanging(what, seconds)
            return
        if check is _Ended:
            return
        if isinstance(check, Check):
            yield check


def hanging(what: str, seconds: float) -> Check:
    """Say that something does not answer."""
    return Check(
        what,
        "wrong",
        f"no answer within {seconds:g} s",
        "it hangs, or is far too slow",
    )


class _Ended:
    """The last thing a look puts into its queue."""
