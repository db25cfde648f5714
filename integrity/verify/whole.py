"""All leaf hashes of a commit, kept beside a leaf file that has only those of groups.

`<leaf file>.whole` is put there before some of its rows leave the archive and others stay. It is a leaf file of all
leaf hashes, of the same positions; of a group whose hashes were not to be had they are zero. Nobody has signed it. Its
hashes of a group are believed if they lead to the group's root, which is in the file whose digest was signed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from lethe.integrity.log import merkle
from lethe.integrity.log.entries import Entry, Log, leaf_path
from lethe.integrity.log.leaves import LeafFile, decode, encode_whole
from lethe.integrity.log.merkle import HASH_SIZE
from lethe.integrity.log.store import Store
from lethe.integrity.verify.row_batch import Batch
from lethe.schemas.errors import FencedError, IntegrityError

Standing = dict[tuple[int, int | None], list[bytes]]
"""Leaf hashes by offset and index: several where a position is taken more than once."""

UNKNOWN = bytes(HASH_SIZE)
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a commit's leaf hashes: its leaf file, and of which groups, by number, all of them."""

    file: LeafFile
    kept: Mapping[int, list[bytes]]

    @classmethod
    def of(cls, log: Log, entry: Entry) -> Self:
        """Read it; raises `IntegrityError` when the leaf file is missing, altered or leads to another root."""
        file = decode(log.leaf_file(entry), entry.first_offset)
        if file.root() != entry.commitment.root:
            raise IntegrityError("the leaf file does not lead to the root of its log entry")
        whole = None if file.whole else log.reader.get(whole_path(log.origin, entry))
        return cls(file, _believed(whole, file, entry.first_offset))

    def leaves(self, number: int) -> list[bytes] | None:
        """Return the leaf hashes of a group if they are known one by one, None if only its root is."""
        group = self.file.groups[number]
        return [group.root] if group.size == 1 else self.kept.get(number)

    def leaves_from(self, number: int, standing: Standing) -> list[bytes] | None:
        """Return the leaf hashes of a group, given the rows of the archive by position.

        None when they are not known and its rows do not lead to its root: some of them are not as they were logged.
        """
        group = self.file.groups[number]
        mine = self.file.rows[group.first : group.end]
        return self.leaves(number) or proven(
            group.root, [standing.get((row.offset, row.index), []) for row in mine]
        )


def proven(root: bytes, standing: Sequence[Sequence[bytes]]) -> list[bytes] | None:
    """Return the leaf hashes of the rows at each position of a group if they lead to its root, else None.

    The same row may be at a position more than once, two different ones prove nothing.
    """
    leaves = [next(iter(found)) for found in map(set, standing) if len(found) == 1]
    return leaves if len(leaves) == len(standing) and merkle.root(leaves) == root else None


def standing(rows: pa.Table) -> Standing:
    """Compute the leaf hashes of archive rows in scope, of one topic-partition, by offset and index."""
    found: Standing = {}
    batch = Batch([(None, rows)])
    for position, leaf in zip(batch.positions(0, len(batch)), batch.leaves, strict=True):
        found.setdefault((position.offset, position.index), []).append(leaf)
    return found


def whole_path(origin: str, entry: Entry) -> str:
    """Say where all leaf hashes of an entry are kept, if they are."""
    return f"{leaf_path(origin, entry)}.whole"


def keep(store: Store, log: Log, entry: Entry, known: Known, rows: pa.Table) -> None:
    """Keep all leaf hashes of an entry whose `rows`, as far as they are still there, are those of the archive.

    What was kept before stays. A group of which a row is not as logged is left out. Raises `FencedError` when others
    do the same all the time.
    """
    path, there_now = whole_path(log.origin, entry), standing(rows)
    for _ in range(_TRIES):
        there = store.get(path)
        known = Known(known.file, _believed(there, known.file, entry.first_offset))
        leaves: list[bytes] = []
        for number, group in enumerate(known.file.groups):
            leaves += known.leaves_from(number, there_now) or [UNKNOWN] * group.size
        whole = encode_whole(known.file.rows, leaves, entry.first_offset)
        if whole == there:
            return
        try:
            store.swap(path, there, whole)
        except FencedError:
            continue
        return
    raise FencedError(f"{path} of the log {log.origin} is written by others all the time; try again")


def _believed(data: bytes | None, file: LeafFile, first_offset: int) -> dict[int, list[bytes]]:
    try:
        whole = decode(data or b"", first_offset)
    except IntegrityError:
        return {}
    if not whole.whole or whole.rows != file.rows:
        return {}
    leaves = [group.root for group in whole.groups]
    found = {number: leaves[group.first : group.end] for number, group in enumerate(file.groups)}
    return {n: mine for n, mine in found.items() if merkle.root(mine) == file.groups[n].root}
