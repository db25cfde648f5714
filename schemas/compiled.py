"""Compiled code is optional: without a C compiler at installation there is none, and all goes the general way."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

_MODULES: Final = ("lethe._blocks", "lethe._plain", "lethe._texts")


def compiled(name: str) -> Any:
    """Return the compiled module of this full name; None where it was not built."""
    try:
        return import_module(name)
    except ImportError:
        return None


def missing() -> list[str]:
    """Return the compiled modules that were not built."""
    return [name for name in _MODULES if compiled(name) is None]
