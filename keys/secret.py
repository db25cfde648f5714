"""Bytes that must not show themselves."""

from __future__ import annotations

import hmac
from typing import NoReturn

from lethe.keys.memory import SLOT, Slot


class Secret:
    """Key material. `repr`, `str` and tracebacks never show it; it cannot be pickled, copied or hashed.

    A key lies in locked memory, which is wiped when the last reference is dropped (`lethe.keys.memory`). Whoever uses
    it makes a copy in Python's memory for that moment, which nothing wipes for certain: a process that must forget a
    key for certain ends.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes | bytearray | memoryview) -> None:
        data = bytes(memoryview(value))  # of a number, `bytes` alone would make that many zeros
        self._value: Slot | bytes = Slot(data) if len(data) <= SLOT else data

    def reveal(self) -> bytes:
        """Return the bytes. Call it inside the expression that uses them: local variables get into crash reports."""
        return self._value if isinstance(self._value, bytes) else self._value.read()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.reveal(), other.reveal())

    # Equal secrets must not be found by a dictionary look-up, whose time depends on the hash.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Secret(hidden)"

    __str__ = __repr__

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")

    def __setstate__(self, state: object) -> NoReturn:
        raise TypeError("a Secret cannot be unpickled")
