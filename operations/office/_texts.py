"""The texts of an answer, a file of each language: the same keys in each, and the same fields in braces."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from lethe.operations.documents.languages import LANGUAGES, Language
from lethe.schemas.errors import InputError

_FOLDER: Final = Path(__file__).parent / "texts"


@cache
def texts(code: str) -> Mapping[str, str]:
    """Read the texts of a language."""
    return tomllib.loads((_FOLDER / f"{code}.toml").read_text("utf-8"))


def language_of(code: str) -> Language:
    """Find a language by its code; raises `InputError` naming those there are."""
    found = LANGUAGES.get(code)
    if found is None:
        raise InputError(f"language: one of {', '.join(LANGUAGES)}")
    return found
