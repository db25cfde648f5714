"""The position of a record, and its name: `stream/partition/offset[/index]`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lethe.schemas.errors import LetheError

STREAM_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,249}(?:~[0-9]{1,6})?")
"""What a stream may be called: a topic's name (Kafka's own rule), with `~2` and so on when it was created again."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a record was read: unique within a warehouse for ever.

    `index` is the place inside an enveloped message, None for a record that came alone.
    """

    stream: str
    partition: int
    offset: int
    index: int | None = None

    def __str__(self) -> str:
        tail = "" if self.index is None else f"/{self.index}"
        return f"{self.stream}/{self.partition}/{self.offset}{tail}"

    @classmethod
    def parse(cls, name: str) -> Position:
        """Read a record's name; raises `LetheError` for anything else."""
        parts = name.split("/")
        if len(parts) not in (3, 4) or not STREAM_PATTERN.fullmatch(parts[0]):
            raise LetheError(
                "a record's name is STREAM/PARTITION/OFFSET[/INDEX], such as cdr.sms-report/0/4711"
            )
        try:
            numbers = [_natural(p) for p in parts[1:]]
        except ValueError:
            raise LetheError("partition, offset and index of a record's name are whole numbers") from None
        return cls(parts[0], *numbers)


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise ValueError(text)
    return int(text)
