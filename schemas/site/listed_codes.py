"""The site's list of codes that name nobody: of each column of codes those that reach the archive as they are."""

from __future__ import annotations

from collections.abc import Mapping

from lethe.schemas.declaration.vocabulary import CODE_MAX_LENGTH, CODES
from lethe.schemas.errors import ConfigurationError

Codes = Mapping[str, frozenset[str]]


def parse_codes(text: str, origin: str) -> Codes:
    """Read a file of codes: a column and a code a line, `#` begins a comment line.

    Raises `ConfigurationError` with the line and what is wrong there, never with what it says.
    """
    found: dict[str, set[str]] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        column, _, code = line.partition(" ")
        code = code.strip()
        if column not in CODES:
            raise ConfigurationError(
                f"{origin}, line {number}: begins with one of the columns {', '.join(sorted(CODES))}"
            )
        if not code or len(code) > CODE_MAX_LENGTH:
            raise ConfigurationError(
                f"{origin}, line {number}: behind the column stands a code of at most {CODE_MAX_LENGTH} characters"
            )
        found.setdefault(column, set()).add(code)
    return {column: frozenset(codes) for column, codes in found.items()}
