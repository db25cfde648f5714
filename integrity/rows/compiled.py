"""Canonical rows and hashes of many rows, made by compiled code (docs/native.md).

The general way is the reference. Each function answers None where it does not serve: without compiled code, on a
processor without instructions for SHA-256, or beyond what one call can hold.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final, overload

import pyarrow as pa

from lethe.schemas.compiled import native

_CODES: Final = pa.int32()
_TEXTS: Final = pa.string()
_HASH: Final = 32
_SHA3: Final = 64

_code: Any = native()
_sha: Any = _code if _code and _code.HASHES else None
_sha3: Any = _code if _code and _code.LANES else None

Column = tuple[int, int, pa.Array]
"""Id and width of an archive column (0: texts) and its values: of that width, strings, or a dictionary of strings."""


class Hashes(Sequence[bytes]):
    """Hashes of 32 bytes that lie one after the other: none of them is an object before somebody asks for it."""

    def __init__(self, joined: bytes) -> None:
        self.joined = joined

    def __len__(self) -> int:
        return len(self.joined) // _HASH

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Hashes: ...
    def __getitem__(self, index: int | slice) -> bytes | Hashes:
        first, end, step = index.indices(len(self)) if isinstance(index, slice) else (index, index + 1, 1)
        if step != 1 or not 0 <= first <= len(self) or (not isinstance(index, slice) and first == len(self)):
            raise IndexError(index)
        found = self.joined[first * _HASH : max(first, end) * _HASH]
        return Hashes(found) if isinstance(index, slice) else found


def forms(columns: Iterable[Column], rows: int) -> tuple[bytes, Sequence[int]] | None:
    """Make the canonical forms of rows, one after the other, and return them with their bounds (one more than rows)."""
    if _code is None:
        return None
    try:
        data, bounds = _code.rows([_field(*column) for column in columns], rows)
    except OverflowError:
        return None
    return data, memoryview(bounds).cast("i")


def _field(number: int, width: int, values: pa.Array) -> tuple[Any, ...]:
    """Describe a column: (tag, width, values, ends, codes, validity, first)."""
    if width:
        validity, data = values.buffers()
        return number, width, data, None, None, validity if values.null_count else None, values.offset
    if not pa.types.is_dictionary(values.type):
        validity, ends, texts = values.buffers()
        return number, 0, texts or b"", ends, None, validity if values.null_count else None, values.offset
    codes, different = values.indices, values.dictionary
    codes = codes if codes.type == _CODES else codes.cast(_CODES)
    validity, data = codes.buffers()
    different = different if different.type == _TEXTS else different.cast(_TEXTS)
    _, ends, texts = different.buffers()
    ends = ends.slice(4 * different.offset, 4 * (len(different) + 1)) if len(different) else bytes(4)
    return number, 0, texts or b"", ends, data, validity if codes.null_count else None, codes.offset


def hashes(prefix: int, data: bytes, bounds: Sequence[int], group: int) -> bytes | None:
    """SHA-256(prefix ‖ `group` rows) of rows with these bounds in `data`, one group's after the other."""
    if _sha is None:
        return None
    where = bounds if isinstance(bounds, memoryview) else array("i", bounds)
    found: bytes = _sha.digests(prefix, data, where, group)
    return found


def sha3_512(texts: Sequence[Sequence[bytes | memoryview]]) -> list[bytes] | None:
    """SHA3-512 of several texts, each of pieces, side by side. One of its own gains nothing."""
    if _sha3 is None or len(texts) < 2:
        return None
    joined: bytes = _sha3.sha3_512([piece for text in texts for piece in text], array("i", map(len, texts)))
    return [joined[at : at + _SHA3] for at in range(0, len(joined), _SHA3)]


def above(level: Sequence[bytes], height: int) -> list[bytes] | None:
    """Return the nodes of an RFC 9162 tree `height` levels above hashes of 32 bytes, or its root if it is lower."""
    if _sha is None:
        return None
    joined = level.joined if isinstance(level, Hashes) else b"".join(level)
    if not joined or len(joined) != _HASH * len(level):  # a row that has no form has no hash either
        return None
    return split(_sha.above(joined, height))


def split(joined: bytes) -> list[bytes]:
    """Return hashes of 32 bytes that lie one after the other."""
    return [joined[at : at + _HASH] for at in range(0, len(joined), _HASH)]
