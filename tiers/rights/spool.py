"""The records of a copy, newest first, of a person who has more of them than memory holds.

They lie in a file without a name, which ends with the process, sealed under a key that nothing keeps.
"""

from __future__ import annotations

import heapq
import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, Final, overload

import orjson

from lethe.keys.monthkeys import MonthKeys, new_secret
from lethe.keys.sealing import open_value, seal_value
from lethe.schemas.errors import LetheError

_NEWEST: Final = itemgetter("event_time", "record")
_LENGTH: Final = 4  # bytes of the length before each sealed record


class Spool(Sequence[dict[str, Any]]):
    """A sequence of records that is read from its file each time, a record of each run in memory at once."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (closed with what it belongs to)
        weakref.finalize(self, self._file.close)
        self._keys = MonthKeys("export.spool", new_secret())
        self._runs: list[tuple[int, int]] = []
        self._end = self._count = 0

    def add(self, records: Sequence[dict[str, Any]]) -> None:
        """Put more records there; raises `LetheError` when the disk refuses."""
        start, data = self._end, bytearray()
        for record in sorted(records, key=_NEWEST, reverse=True):
            sealed = seal_value(self._keys, "export", "record", str(start + len(data)), orjson.dumps(record))
            data += len(sealed).to_bytes(_LENGTH, "big") + sealed
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            raise LetheError(f"{tempfile.gettempdir()}: {error.strerror}") from None
        self._end += len(data)
        self._runs.append((start, self._end))
        self._count += len(records)

    @property
    def size(self) -> int:
        """How many bytes they are on the disk, as JSON without white space and sealed."""
        return self._end

    def __len__(self) -> int:
        """Return how many there are."""
        return self._count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield them, newest first."""
        return heapq.merge(*(self._run(*run) for run in self._runs), key=_NEWEST, reverse=True)

    @overload
    def __getitem__(self, at: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, at: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, at: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        """Return one of them, or some; the ones before are read."""
        if isinstance(at, slice):
            return list(islice(self, *at.indices(len(self))))
        number = range(self._count)[at]
        return next(islice(self, number, None))

    def _run(self, at: int, end: int) -> Iterator[dict[str, Any]]:
        file = self._file.fileno()
        while at < end:
            length = int.from_bytes(os.pread(file, _LENGTH, at), "big")
            sealed = os.pread(file, length, at + _LENGTH)
            yield dict(orjson.loads(open_value(self._keys, "export", "record", str(at), sealed)))
            at += _LENGTH + length
