"""Canonical rows and hashes of many rows, made by compiled code (docs/native.md).

The general way is the reference. Each function answers None where it does not serve: without compiled code, on a
processor without instructions for SHA-256, or beyond what one call can hold.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final

import pyarrow as pa

from lethe.schemas.compiled import native

_HASH: Final = 32

_code: Any = native()
_sha: Any = _code if _code and _code.HASHES else None

Column = tuple[int, int, pa.Array]
"""Id and width of an archive column (0: texts) and its values: of that width, strings, or a dictionary of strings."""


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
    codes = values.indices.cast(pa.int32())
    validity, data = codes.buffers()
    different = values.dictionary.cast(pa.string())
    _, ends, texts = different.buffers()
    ends = ends.slice(4 * different.offset, 4 * (len(different) + 1)) if len(different) else bytes(4)
    return number, 0, texts or b"", ends, data, validity if codes.null_count else None, codes.offset


def hashes(prefix: int, data: bytes, bounds: Sequence[int], group: int) -> list[bytes] | None:
    """SHA-256(prefix ‖ `group` rows) of rows with these bounds in `data`, group after group."""
    if _sha is None:
        return None
    where = bounds if isinstance(bounds, memoryview) else array("i", bounds)
    return _split(_sha.digests(prefix, data, where, group))


def above(level: Sequence[bytes], height: int) -> list[bytes] | None:
    """Return the nodes of an RFC 9162 tree `height` levels above hashes of 32 bytes, or its root if it is lower."""
    joined = b"".join(level) if _sha is not None else b""
    if not joined or len(joined) != _HASH * len(level):  # a row that has no form has no hash either
        return None
    return _split(_sha.above(joined, height))


def _split(joined: bytes) -> list[bytes]:
    return [joined[at : at + _HASH] for at in range(0, len(joined), _HASH)]
