"""Bloom filters of Parquet files, asked for single values without reading the rest.

Format: Parquet "Bloom filter" specification, split block Bloom filters over xxHash64 (seed 0) of a value's plain bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

_SALT: Final = (
    0x47B6137B,
    0x44974D91,
    0x8824AD5B,
    0xA2B7289D,
    0x705495C7,
    0x2DF1424B,
    0x9EFC4947,
    0x5C6BFB31,
)
_BLOCK: Final = 32
_ALL: Final = slice(None)
_MASK: Final = (1 << 64) - 1
_P1, _P2, _P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P4, _P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def hash_of(value: bytes) -> int:
    """Compute xxHash64 of a value of 8 or 16 bytes: an integer's or a token's."""
    mixed = (_P5 + len(value)) & _MASK
    for (lane,) in struct.iter_unpack("<Q", value):
        mixed ^= _rotated(lane * _P2 & _MASK, 31) * _P1 & _MASK
        mixed = (_rotated(mixed, 27) * _P1 + _P4) & _MASK
    mixed = (mixed ^ mixed >> 33) * _P2 & _MASK
    mixed = (mixed ^ mixed >> 29) * _P3 & _MASK
    return mixed ^ mixed >> 32


class Filters:
    """The filters of one column in many row groups, asked all at once.

    `places`: where each begins and how long it is, its header included; `data` holds them from `shift` on.
    """

    def __init__(self, data: memoryview, places: Sequence[tuple[int, int]], shift: int = 0) -> None:
        self._data = np.frombuffer(data, np.uint8)
        sizes = [_size(data, start - shift + 1) for start, _ in places]
        ends = [start + length - shift for start, length in places]
        self._blocks = np.array(sizes, np.int64) // _BLOCK
        self._starts = np.array(ends, np.int64) - np.array(sizes, np.int64)

    def may_hold(self, hashed: int, among: Sequence[int] | slice = _ALL) -> npt.NDArray[np.bool_]:
        """Tell whether a value with this hash can be in each of the row groups, or in those `among` them."""
        starts = self._starts[among] + ((hashed >> 32) * self._blocks[among] >> 32) * _BLOCK
        blocks = self._data[starts[:, None] + np.arange(_BLOCK)].view("<u4")
        low = hashed & 0xFFFFFFFF
        bits = np.array([1 << ((low * salt & 0xFFFFFFFF) >> 27) for salt in _SALT], np.uint32)
        found: npt.NDArray[np.bool_] = ((blocks & bits) == bits).all(axis=1)
        return found


def _size(data: memoryview, at: int) -> int:
    """Read how many bytes follow a header: its first field, a zigzag varint."""
    size = shift = 0
    while True:
        size |= (data[at] & 0x7F) << shift
        if data[at] < 0x80:
            return size >> 1
        at, shift = at + 1, shift + 7


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> 64 - bits) & _MASK
