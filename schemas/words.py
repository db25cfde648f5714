"""Words that go with numbers."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Say how many there are of something: 1 record, 2 records, 1,200 entries."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
