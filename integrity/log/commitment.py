"""What one commit says of the rows of one topic-partition: how many are in scope, and two digests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha3_512
from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc

from lethe.integrity.log import merkle
from lethe.integrity.rows import canonical_rows as rows
from lethe.schemas.errors import LetheError


@dataclass(frozen=True, slots=True)
class Commitment:
    """The rows in integrity scope of one commit and topic-partition.

    `root` (32 bytes) is the RFC 9162 root over their canonical forms in order of offset and index,
    `sha3_512` (64 bytes) the digest of the same canonical forms, one after the other.
    """

    count: int
    root: bytes
    sha3_512: bytes


GROUP_HEIGHT = 5
"""Groups of rows whose roots a leaf file may hold are subtrees of this height: 32 rows, the last group the rest."""

NOTHING = Commitment(0, merkle.EMPTY_ROOT, sha3_512().digest())
"""The commitment to no rows: the empty tree, and the digest of nothing."""


def commit_rows(table: pa.Table) -> Commitment:
    """Commit to archive rows, in any order, of one stream, partition and commit.

    `table` has the columns of `lethe.schemas.arrow.METADATA`, with or without `month`. Rows without an
    `integrity_hash` are outside the scope. No row in scope gives `NOTHING`. Raises `LetheError` when the
    rows are of several partitions or of one position twice.
    """
    return commit_each([ordered_scope(table)])[0][0]


def commit_each(scopes: Sequence[pa.Table]) -> list[tuple[Commitment, list[bytes], list[bytes]]]:
    """Commit to each table, rows as `ordered_scope` gives them: the commitment, the leaf hashes, the groups' roots.

    They are encoded together: to encode costs as much as 500 rows.
    """
    ends = list(accumulate(scope.num_rows for scope in scopes))
    leaves: list[bytes] = []
    digests = [sha3_512() for _ in scopes]
    start = which = 0
    for chunk in rows.encode_chunks(pa.concat_tables(scopes)):
        leaves += chunk.leaf_hashes()
        data, at, end = memoryview(chunk.data), start, start + len(chunk)
        while at < end:
            while ends[which] <= at:
                which += 1
            to = min(end, ends[which])
            digests[which].update(data[chunk.bounds[at - start] : chunk.bounds[to - start]])
            at = to
        start = end
    found = []
    for scope, end, digest in zip(scopes, ends, digests, strict=True):
        mine = leaves[end - scope.num_rows : end]
        roots = merkle.subtree_roots(mine, GROUP_HEIGHT)
        found.append((Commitment(len(mine), merkle.root(roots), digest.digest()), mine, roots))
    return found


def ordered_scope(table: pa.Table) -> pa.Table:
    """Return the rows with an `integrity_hash`, by offset and index, without index first; see `commit_rows`."""
    table = sort_scope(table)
    if table.num_rows < 2:
        return table
    for name in ("stream", "partition"):
        if not pc.all(pc.equal(table.column(name), table.column(name)[0])).as_py():
            raise LetheError(f"rows of more than one {name} have no common commitment")
    if not ascends(table):
        raise LetheError("a position is there twice; a commit holds every record once")
    return table


def sort_scope(table: pa.Table) -> pa.Table:
    """Return the rows with an `integrity_hash`, by offset and index; a position may be there twice."""
    if table.column("integrity_hash").null_count:
        table = table.filter(pc.is_valid(table.column("integrity_hash")))
    if ascends(table):
        return table
    keys = [("offset", "ascending", "at_start"), ("index", "ascending", "at_start")]
    return table.take(pc.sort_indices(table, sort_keys=keys))


def ascends(table: pa.Table) -> bool:
    """Tell whether every row's position comes after the one before it."""
    if table.num_rows < 2:
        return True
    offset = table.column("offset")
    before, after = offset.slice(0, len(offset) - 1), offset.slice(1)
    later = pc.less(before, after)
    if pc.all(later).as_py():
        return True
    # A row without index is alone at its offset, or comes before those that have one.
    index = pc.fill_null(table.column("index"), -1)
    same = pc.and_(pc.equal(before, after), pc.less(index.slice(0, len(index) - 1), index.slice(1)))
    return bool(pc.all(pc.or_(later, same)).as_py())
