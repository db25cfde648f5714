"""Compiled code is optional: without a C compiler at installation there is none, and all goes the general way."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

INTERFACE: Final = 2
"""What the compiled module has to say of itself: the number in `native/module.c`, one more whenever calls change."""


def native() -> Any:
    """Import the compiled module `lethe._native` (docs/native.md); None where it was not built, or of other code."""
    try:
        found = import_module("lethe._native")
    except ImportError:
        return None
    return found if getattr(found, "INTERFACE", None) == INTERFACE else None
