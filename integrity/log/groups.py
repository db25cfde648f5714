"""Groups of rows in a leaf file: 32 leaf hashes as one, the root of their subtree.

The root says whether all rows of a group are as they were logged. Which of them is not it does not say. Specified in
docs/integrity.md, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lethe.integrity.log import merkle
from lethe.integrity.log.commitment import GROUP_HEIGHT
from lethe.integrity.log.merkle import HASH_SIZE

GROUP_ROWS = 1 << GROUP_HEIGHT
_RECORD = 2 * HASH_SIZE

Hashes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows `first` to `first + size` of a commit, in the order of its tree: at most `GROUP_ROWS`.

    `root` (32 bytes) is that of their subtree, of a group of one its leaf hash.
    """

    first: int
    size: int
    root: bytes

    @property
    def end(self) -> int:
        """The first row behind the group."""
        return self.first + self.size


def encode_groups(leaves: Sequence[bytes], roots: Sequence[bytes]) -> bytes:
    """Write root and parity (XOR of the leaf hashes) of every group; of a last group of one row the root alone.

    The parity belongs to the format. Nothing reads it.
    """
    hashes = np.zeros((len(roots) * GROUP_ROWS, HASH_SIZE), np.uint8)
    hashes[: len(leaves)] = as_array(leaves)
    words = hashes.view(np.uint64).reshape(len(roots), GROUP_ROWS, -1)
    parities = np.bitwise_xor.reduce(words, axis=1).view(np.uint8)
    data = np.concatenate((as_array(roots), parities), axis=1).tobytes()
    return data[:-HASH_SIZE] if len(leaves) % GROUP_ROWS == 1 else data


def groups_size(rows: int) -> int:
    """Say how many bytes `encode_groups` takes for so many rows."""
    return _RECORD * -(-rows // GROUP_ROWS) - HASH_SIZE * (rows % GROUP_ROWS == 1)


def decode_groups(data: bytes, rows: int) -> list[Group]:
    """Read `groups_size(rows)` bytes of groups."""
    starts = range(0, rows, GROUP_ROWS)
    roots = (data[at * _RECORD : at * _RECORD + HASH_SIZE] for at in range(len(starts)))
    return [
        Group(first, min(GROUP_ROWS, rows - first), root) for first, root in zip(starts, roots, strict=True)
    ]


def alone(leaves: Sequence[bytes]) -> list[Group]:
    """Make every row a group of its own, whose root is its leaf hash."""
    return [Group(row, 1, leaf) for row, leaf in enumerate(leaves)]


def prove(groups: Sequence[Group], number: int, leaves: Sequence[bytes], place: int) -> list[bytes]:
    """Make the inclusion proof of row `place` of group `number` in the tree of all rows.

    `leaves` are the group's leaf hashes.
    """
    within = merkle.inclusion_proof(leaves, place)
    return within + merkle.inclusion_proof([group.root for group in groups], number)


def as_array(hashes: Sequence[bytes]) -> Hashes:
    """Lay hashes out as rows of bytes."""
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(len(hashes), HASH_SIZE)
