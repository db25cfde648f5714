"""Bytes that must not show themselves."""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """Key material. `repr`, `str` and tracebacks never show it; it cannot be pickled, copied or hashed.

    Python gives no way to wipe memory for certain: a process that must forget a key drops every reference
    and, if the threat model asks for more, ends. Swap and core dumps have to be off where keys are held.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes | bytearray | memoryview) -> None:
        self._value = bytes(memoryview(value))  # of a number, `bytes` alone would make that many zeros

    def reveal(self) -> bytes:
        """Return the bytes. Call it inside the expression that uses them: local variables get into crash reports."""
        return self._value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    # Equal secrets must not be found by a dictionary look-up, whose time depends on the hash.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Secret(hidden)"

    __str__ = __repr__

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")

    def __setstate__(self, state: object) -> NoReturn:
        raise TypeError("a Secret cannot be unpickled")
