"""The leaf file of a commit: position, month and leaf hash of every row in scope.

    file = version (0x01) ‖ first month (4 bytes) ‖ row*
    row  = offset ‖ index ‖ month ‖ leaf hash (32 bytes)

It lets a verifier name the very row that is missing, and do without rows that have outlived the archive. The
log entry holds its SHA-256. A leaf hash reveals nothing of its row, which holds `integrity_hash`: nobody can
guess that without the salt. Specified in docs/integrity.md, section 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from integrity.commitment import Commitment, commit_ordered, ordered_scope
from integrity.tiles import number_path
from schemas.errors import IntegrityError
from schemas.retention import Month

Months = npt.NDArray[np.int64]
VERSION = 1
FIRST_MONTH, LAST_MONTH = 12, 119_999
"""Months of the years 1 to 9999, as `month_number` counts them."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One row as the leaf file has it."""

    offset: int
    index: int | None
    month: Month
    hash: bytes


def leaves_path(first_offset: int) -> str:
    """Where the leaf file of the commit that begins at `first_offset` is kept."""
    return f"leaves/{number_path(first_offset)}"


def commit_with_leaves(
    table: pa.Table, first_offset: int
) -> tuple[Commitment, bytes, tuple[Month, Month] | None]:
    """The commitment of `commitment.commit_rows`, the leaf file, and its first and last month.

    The file is empty and the months are None when no row is in scope.

    `first_offset` is the first offset the commit covers, in scope or not.
    """
    in_scope = ordered_scope(table)
    commitment, leaves = commit_ordered(in_scope)
    if not leaves:
        return commitment, b"", None
    months = month_numbers(in_scope.column("event_time"))
    spanned = month_of(int(months.min())), month_of(int(months.max()))
    return commitment, encode(in_scope, leaves, months, first_offset), spanned


def encode(in_scope: pa.Table, leaves: list[bytes], months: Months, first_offset: int) -> bytes:
    """The leaf file of rows in order, at least one, with their leaf hashes and months."""
    offsets = in_scope.column("offset").to_numpy()
    indexes = in_scope.column("index").cast(pa.int64()).fill_null(-1).to_numpy()
    numbers = [
        np.diff(offsets, prepend=first_offset),
        indexes + 1,
        _zigzag(np.diff(months, prepend=months[:1])),
    ]
    hashes = np.frombuffer(b"".join(leaves), np.uint8).reshape(len(leaves), -1)
    written = [*map(_numbers, numbers), (hashes, np.ones(hashes.shape, np.bool_))]
    data, there = (np.concatenate(parts, axis=1) for parts in zip(*written, strict=True))
    rows: bytes = data[there].tobytes()
    return bytes([VERSION]) + int(months[0]).to_bytes(4, "little") + rows


def decode(data: bytes, first_offset: int) -> Iterator[Leaf]:
    """Read a leaf file; raises `IntegrityError` when it is damaged. Empty for an empty file."""
    if not data:
        return
    if data[0] != VERSION or len(data) < 5:
        raise IntegrityError("leaf file: it is of no version known here")
    offset, number, at = first_offset, int.from_bytes(data[1:5], "little"), 5
    while at < len(data):
        step, at = _read_number(data, at)
        index, at = _read_number(data, at)
        change, at = _read_number(data, at)
        offset += step
        number += change >> 1 if not change & 1 else -(change + 1 >> 1)
        if at + 32 > len(data) or not FIRST_MONTH <= number <= LAST_MONTH:
            raise IntegrityError("leaf file: it is cut short")
        yield Leaf(offset, index - 1 if index else None, month_of(number), data[at : at + 32])
        at += 32


def digest(data: bytes) -> bytes:
    """What a log entry holds of the leaf file: its SHA-256."""
    return sha256(data).digest()


def month_numbers(times: pa.ChunkedArray) -> Months:
    """Months since year 0 of timestamps, in UTC; int64."""
    # Through dates: Arrow would look a time zone up for every other way to take a timestamp apart.
    dates = times.cast(pa.timestamp("us")).cast(pa.date32(), safe=False)
    number = pc.add(pc.multiply(pc.year(dates), 12), pc.subtract(pc.month(dates), 1))
    found: Months = number.to_numpy()
    return found


def month_of(number: int) -> Month:
    """The month that is `number` months after January of year 0."""
    return Month(number // 12, number % 12 + 1)


def month_number(month: Month) -> int:
    """Months since January of year 0."""
    return month.year * 12 + month.number - 1


def _zigzag(values: Months) -> Months:
    return np.where(values >= 0, values * 2, -values * 2 - 1)


def _numbers(values: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """LEB128 of whole numbers from 0: groups of seven bits, the lowest first, the eighth set on all but the last.

    One row a number, and which bytes of it are there.
    """
    width = max(1, -(-int(values.max()).bit_length() // 7))
    rest = values[:, None] >> np.arange(0, 7 * width, 7)
    data = (rest & 127 | np.where(rest > 127, 128, 0)).astype(np.uint8)
    there = rest > 0
    there[:, 0] = True
    return data, there


def _read_number(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise IntegrityError("leaf file: it is cut short")
