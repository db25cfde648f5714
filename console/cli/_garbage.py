"""What commands are made of is imported while no garbage is collected: nearly all of it stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


def collect_from_now_on() -> None:
    """Collect garbage, if that was stopped (`lethe.console.cli.start`)."""
    if not gc.isenabled():
        gc.freeze()  # what is here stays, so it need not be looked at
        gc.enable()


@contextmanager
def uncollected() -> Iterator[None]:
    """Import something large that a command needs."""
    gc.disable()
    try:
        yield
    finally:
        collect_from_now_on()
