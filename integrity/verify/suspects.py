"""Rows that are missing and rows that were added: perhaps the same, moved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice, permutations

import pyarrow as pa

from lethe.integrity.log.groups import MOST_TRIES, Group, Tries, solve
from lethe.integrity.rows.canonical_rows import encode
from lethe.integrity.verify.findings import Finding, Kind
from lethe.schemas.errors import LetheError
from lethe.schemas.position import Position

MOST_SUSPECTS = 256
"""Rows kept back, of each kind, to see whether what is missing in one place was added in another."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands at a position that was logged: leaf hashes, and the file of the first row.

    A row that has no canonical form has the leaf hash b"".
    """

    position: Position
    leaves: Sequence[bytes]
    file: str | None


@dataclass(frozen=True, slots=True)
class Unsolved:
    """A group of which more is wrong than its parity can tell. `missing` are the places where no row is and one was."""

    group: Group
    rows: Sequence[Standing]
    missing: Sequence[int]

    def named(self, leaves: Sequence[bytes]) -> Iterator[Finding]:
        """The rows that are altered, now that the leaf hashes are known; not those without a form, named before."""
        for row, leaf in zip(self.rows, leaves, strict=True):
            if row.leaves and row.leaves[0] and row.leaves[0] != leaf:
                yield altered(row)

    def unnamed(self) -> Iterator[Finding]:
        """What can be said of the rows that are there, without knowing the leaf hashes."""
        there = [row for row in self.rows if any(row.leaves)]
        gone = len(self.rows) - len(there)
        if not there:
            return
        where = str(there[0].position)
        if len(there) > 1:
            where += f" to {there[-1].position}"
        file = there[0].file
        if gone > 1:
            what = f"the {len(there)} rows in scope here are" if len(there) > 1 else "this row is"
            detail = f"whether {what} as logged cannot be told: {gone} others of the group of {len(self.rows)} are not"
            yield Finding(Kind.NOT_PROVEN, where, detail, file)
        elif len(there) == 1:
            if there[0].leaves[0]:  # else it was named before
                yield altered(there[0])
        else:
            most = "two or more" if not gone else "one or more"
            detail = f"of the {len(there)} rows in scope here {most} are not as logged; which cannot be told"
            yield Finding(Kind.ALTERED, where, detail, file)


@dataclass(slots=True)
class Suspects:
    """What was kept back until all rows were seen; of groups in `unsolved` the missing rows, too.

    `tries` bound what is tried for all groups until then; what is tried at the end has as much again.
    """

    missing: list[tuple[Position, bytes]] = field(default_factory=list)
    added: list[tuple[Finding, pa.Table]] = field(default_factory=list)
    unsolved: list[Unsolved] = field(default_factory=list)
    tries: Tries = field(default_factory=Tries)

    def room(self, rows: int) -> bool:
        """Whether so many missing rows more may be kept back."""
        return len(self.missing) + sum(len(one.missing) for one in self.unsolved) + rows <= MOST_SUSPECTS

    def settle(self) -> Iterator[Finding]:
        """What became of them: moved, or really missing and added."""
        for position, leaf in self.missing:
            yield self._moved(position, leaf)
        self.tries = Tries()
        for one in self.unsolved:
            leaves = self._with_added(one)
            yield from one.unnamed() if leaves is None else one.named(leaves)
            for place in one.missing:
                position = one.rows[place].position
                yield missing(position) if leaves is None else self._moved(position, leaves[place])
        for finding, _ in self.added:
            yield finding
        self.missing, self.added, self.unsolved = [], [], []

    def _moved(self, position: Position, leaf: bytes) -> Finding:
        """Where a missing row with this leaf hash stands now, which is then no row that was added."""
        where = next((n for n, (_, row) in enumerate(self.added) if leaf_at(row, position) == leaf), None)
        if where is None:
            return missing(position)
        finding, _ = self.added.pop(where)
        return Finding(Kind.MOVED, str(position), f"it now stands at {finding.where}", finding.file)

    def _with_added(self, one: Unsolved) -> list[bytes] | None:
        """The leaf hashes of a group if rows that were added were missing in it; at most one more may be wrong."""

        self.tries.begin()

        @cache
        def moved(number: int, place: int) -> bytes:
            return leaf_at(self.added[number][1], one.rows[place].position)

        # First all but one, which leaves that one to the parity, then all, in case a row is altered as well.
        # The last one first: rows that were moved together stand in their order, and the tries begin with that.
        places = [[*one.missing[:n], *one.missing[n + 1 :]] for n in reversed(range(len(one.missing)))]
        for chosen in [*places, one.missing] if len(one.missing) > 1 else [one.missing]:
            for numbers in islice(permutations(range(len(self.added)), len(chosen)), MOST_TRIES):
                if not self.tries.take():
                    return None
                choices = [row.leaves for row in one.rows]
                for number, place in zip(numbers, chosen, strict=True):
                    choices[place] = [moved(number, place)]
                if (leaves := solve(one.group, choices, self.tries, first=False)) is not None:
                    return leaves
        return None


def altered(row: Standing) -> Finding:
    """At its position is another row than the one that was logged."""
    return Finding(Kind.ALTERED, str(row.position), "it is not the row that was logged", row.file)


def missing(position: Position) -> Finding:
    """At the position is no row."""
    return Finding(Kind.MISSING, str(position), "it was logged and is not in the archive")


def leaf_at(row: pa.Table, position: Position) -> bytes:
    """The leaf hash the row would have at another position; b"" for a row that has no canonical form."""
    for name, value in (("offset", position.offset), ("index", position.index)):
        at = row.column_names.index(name)
        row = row.set_column(at, row.schema.field(name), pa.array([value], row.schema.field(name).type))
    try:
        return encode(row).leaf_hashes()[0]
    except LetheError:
        return b""  # the row was added, whatever it is
