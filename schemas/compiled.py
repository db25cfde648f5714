"""Compiled code is optional: without a C compiler at installation there is none, and all goes the general way."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def native() -> Any:
    """Import the compiled module `lethe._native` (docs/native.md); None where it was not built."""
    try:
        return import_module("lethe._native")
    except ImportError:
        return None
