"""Bloom filters of Parquet files, asked for values without reading the rest.

Format: Parquet "Bloom filter" specification, split block Bloom filters over xxHash64 (seed 0) of a value's plain bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

_SALT: Final = np.array(
    [
        0x47B6137B,
        0x44974D91,
        0x8824AD5B,
        0xA2B7289D,
        0x705495C7,
        0x2DF1424B,
        0x9EFC4947,
        0x5C6BFB31,
    ],
    np.uint32,
)
_SALTS: Final[list[int]] = _SALT.tolist()
_BLOCK: Final = 32
_AT_ONCE: Final = 1 << 14
"""Values and row groups that are compared at one time, of some hundred bytes each."""
_Hashes = npt.NDArray[np.uint64]
_P1, _P2, _P3, _P4, _P5 = np.array(
    [0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5],
    np.uint64,
)


def hashes_of(values: Sequence[bytes]) -> _Hashes:
    """Compute xxHash64 of values of 8 or 16 bytes each, all of one size: integers or tokens."""
    size = len(values[0]) if values else 8
    lanes = np.frombuffer(b"".join(values), "<u8").reshape(len(values), size // 8)
    mixed = np.full(len(values), _P5 + np.uint64(size), np.uint64)
    for at in range(size // 8):  # numbers of 64 bits that wrap around, as the algorithm has them
        mixed ^= _rotated(lanes[:, at] * _P2, 31) * _P1
        mixed = _rotated(mixed, 27) * _P1 + _P4
    mixed = (mixed ^ mixed >> np.uint64(33)) * _P2
    mixed = (mixed ^ mixed >> np.uint64(29)) * _P3
    hashes: _Hashes = mixed ^ mixed >> np.uint64(32)
    return hashes


@dataclass(frozen=True, slots=True)
class Probe:
    """What is looked for in filters, of one value: which block (in parts of 2^32), and which of its bits."""

    part: int
    bits: int

    @classmethod
    def of(cls, hashed: int) -> Probe:
        """Take the hash of a value, see `hashes_of`."""
        low, bits = hashed & 0xFFFFFFFF, 0
        for word, salt in enumerate(_SALTS):
            bits |= 1 << (32 * word + ((low * salt & 0xFFFFFFFF) >> 27))
        return cls(hashed >> 32, bits)

    def may_be_in(self, data: memoryview, start: int, length: int) -> bool:
        """Tell whether the value can be in the row group whose filter begins at `start`, its header included.

        It can be where no filter is: whoever reads on sees what is wrong with the file.
        """
        size = _size(data, start + 1) if _BLOCK < length <= len(data) - start else 0
        if not _BLOCK <= size < length:
            return True
        at = start + length - size + (self.part * (size // _BLOCK) >> 32) * _BLOCK
        return int.from_bytes(data[at : at + _BLOCK], "little") & self.bits == self.bits


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

    def may_hold(self, hashes: _Hashes, groups: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Tell of each hash whether its value can be in the row group that stands beside it."""
        held = np.empty(len(hashes), np.bool_)
        for at in range(0, len(hashes), _AT_ONCE):
            some = slice(at, at + _AT_ONCE)
            held[some] = self._may_hold(hashes[some], groups[some])
        return held

    def _may_hold(self, hashes: _Hashes, groups: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        high = (hashes >> np.uint64(32)).astype(np.int64)
        starts = self._starts[groups] + (high * self._blocks[groups] >> 32) * _BLOCK
        blocks = self._data[starts[:, None] + np.arange(_BLOCK)].view("<u4")
        bits = np.uint32(1) << ((hashes.astype(np.uint32)[:, None] * _SALT) >> np.uint32(27))
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


def _rotated(values: _Hashes, bits: int) -> _Hashes:
    return values << np.uint64(bits) | values >> np.uint64(64 - bits)
