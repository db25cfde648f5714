"""Groups of rows in a leaf file: 32 leaf hashes as two, the root of their subtree and their parity.

The root says whether all rows of a group are as they were logged. If just one is not, the parity gives its leaf
hash: the XOR of all others with it. Of two or more neither says which. Specified in docs/integrity.md, section 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, product

import numpy as np
import numpy.typing as npt

from lethe.integrity.log import merkle
from lethe.integrity.log.commitment import GROUP_HEIGHT
from lethe.integrity.log.merkle import HASH_SIZE

GROUP_ROWS = 1 << GROUP_HEIGHT
MOST_TRIES = 256
"""Ways to choose among several rows at one position that are tried for a group."""
GROUP_BUDGET = 8_192
"""Roots computed for one group whose rows stand in a doubtful place, beyond those of its first choice."""
BUDGET = 1 << 20
"""The same for all groups that are looked into together: half a minute, whatever a tamperer has left behind."""

Hashes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows `first` to `first + size` of a commit, in the order of its tree: at most `GROUP_ROWS`.

    `root` (32 bytes) is that of their subtree, of a group of one its leaf hash; `parity` (32 bytes) the XOR of their
    leaf hashes.
    """

    first: int
    size: int
    root: bytes
    parity: bytes

    @property
    def end(self) -> int:
        """The first row behind the group."""
        return self.first + self.size


@dataclass(slots=True)
class Tries:
    """How much may still be tried: for the group that was begun last, and for all."""

    left: int = field(default_factory=lambda: BUDGET)
    of_group: int = field(default_factory=lambda: GROUP_BUDGET)

    def begin(self) -> None:
        """Begin a group."""
        self.of_group = min(GROUP_BUDGET, self.left)

    def take(self) -> bool:
        """Whether one more root may be computed."""
        if self.of_group <= 0:
            return False
        self.of_group -= 1
        self.left -= 1
        return True


def encode_groups(leaves: Sequence[bytes], roots: Sequence[bytes]) -> bytes:
    """Root and parity of every group, one after the other; of a last group of one row the root alone."""
    hashes = np.zeros((len(roots) * GROUP_ROWS, HASH_SIZE), np.uint8)
    hashes[: len(leaves)] = as_array(leaves)
    words = hashes.view(np.uint64).reshape(len(roots), GROUP_ROWS, -1)
    parities = np.bitwise_xor.reduce(words, axis=1).view(np.uint8)
    data = np.concatenate((as_array(roots), parities), axis=1).tobytes()
    return data[:-HASH_SIZE] if len(leaves) % GROUP_ROWS == 1 else data


def groups_size(rows: int) -> int:
    """How many bytes `encode_groups` takes for so many rows."""
    return 2 * HASH_SIZE * -(-rows // GROUP_ROWS) - HASH_SIZE * (rows % GROUP_ROWS == 1)


def decode_groups(data: bytes, rows: int) -> list[Group]:
    """Read `groups_size(rows)` bytes of groups."""
    groups: list[Group] = []
    for first in range(0, rows, GROUP_ROWS):
        size, at = min(GROUP_ROWS, rows - first), len(groups) * 2 * HASH_SIZE
        root = data[at : at + HASH_SIZE]
        parity = data[at + HASH_SIZE : at + 2 * HASH_SIZE] if size > 1 else root
        groups.append(Group(first, size, root, parity))
    return groups


def alone(leaves: Sequence[bytes]) -> list[Group]:
    """Every row as a group of its own, whose root is its leaf hash."""
    return [Group(row, 1, leaf, leaf) for row, leaf in enumerate(leaves)]


def solve(
    group: Group, choices: Sequence[Sequence[bytes]], tries: Tries, first: bool = True
) -> list[bytes] | None:
    """The leaf hashes of a group, given what each may be; None when that and the parity do not lead to its root.

    `choices` has the hashes of what now stands at the position of each row: one, none or several. All rows but one
    must have the right one among them, the remaining one is found from the parity. What is returned is proven by the
    root; nothing else is ever returned. The first choice is always tried if `first`, all else as far as `tries` allow,
    which the caller has begun.
    """
    if group.size == 1:
        return [group.root]
    parity = int.from_bytes(group.parity, "big")
    # The same row twice is no choice, and what has no hash none either.
    distinct = [tuple(leaf for leaf in dict.fromkeys(place) if leaf) or (None,) for place in choices]
    for number, chosen in enumerate(islice(product(*distinct), MOST_TRIES)):
        unknown = [place for place, leaf in enumerate(chosen) if leaf is None]
        if len(unknown) > 1:
            return None
        rest = parity
        for leaf in chosen:
            rest ^= int.from_bytes(leaf or b"", "big")
        for leaves in _candidates(list(chosen), unknown, rest):
            if (number or not first) and not tries.take():
                return None
            if merkle.root(leaves) == group.root:
                return leaves
    return None


def _candidates(chosen: list[bytes | None], unknown: Sequence[int], rest: int) -> Iterator[list[bytes]]:
    """The leaf hashes as they stand if their parity is right, else with each one in turn put right by the parity."""
    known = [leaf or bytes(HASH_SIZE) for leaf in chosen]
    if not rest and not unknown:
        yield known
        return
    for place in unknown or range(len(known)):
        right = (int.from_bytes(known[place], "big") ^ rest).to_bytes(HASH_SIZE, "big")
        yield [*known[:place], right, *known[place + 1 :]]


def prove(groups: Sequence[Group], number: int, leaves: Sequence[bytes], place: int) -> list[bytes]:
    """The inclusion proof of row `place` of group `number` in the tree of all rows, given the group's leaf hashes."""
    within = merkle.inclusion_proof(leaves, place)
    return within + merkle.inclusion_proof([group.root for group in groups], number)


def as_array(hashes: Sequence[bytes]) -> Hashes:
    """Hashes as rows of bytes."""
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(len(hashes), HASH_SIZE)
