"""Data files that are byte for byte as the log says they were written: their rows out of scope need not be read.

The signed log says of the rows out of scope of a commit in which data files they were written, by the SHA-256 of all
bytes (docs/integrity.md, section 4). Where each of these files is in the table once, under its month, and still has
that digest, and no other file has rows among the offsets of the commit, its rows out of scope are as they were logged.
Where anything is otherwise the rows are read and compared one by one, as they are of files that were rewritten.
"""

from __future__ import annotations

import secrets
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import file_digest, sha256
from itertools import accumulate
from pathlib import Path
from typing import Final

from lethe.integrity.log.entries import Entry, Log
from lethe.integrity.log.outside import Held, held_in
from lethe.integrity.verify.row_batch import Months
from lethe.schemas.errors import IntegrityError
from lethe.tiers.archive.rows import Archive
from lethe.tiers.delta.log import DataFile
from lethe.tiers.delta.rewrite import digest_of
from lethe.tiers.ledger.commits import TopicPartition
from lethe.tiers.store.objects import Objects, opened

SPOT: Final = 16
"""Of so many files that are as they were written, one is read all the same, by chance: a fault of the writer shows."""


def _by_chance() -> bool:
    return secrets.randbelow(SPOT) == 0


@dataclass(slots=True)
class _Commit:
    """A commit of a topic-partition, and the data files that its log entry names."""

    place: TopicPartition
    first: int
    last: int
    held: list[Held]
    paths: list[str] = field(default_factory=list)
    """Those that were found as they were written."""


@dataclass(slots=True)
class Unchanged:
    """What was found. `proven`: first offsets of the commits whose rows out of scope are as they were logged."""

    months: Months
    commits: list[_Commit] = field(default_factory=list)
    proven: dict[TopicPartition, set[int]] = field(default_factory=dict)

    def note(self, place: TopicPartition, log: Log, entries: Iterable[Entry]) -> None:
        """Note what the entries of a log say of data files; an entry whose file is not to be had says nothing."""
        for entry in entries:
            try:
                held = held_in(log.outside_file(entry))
            except IntegrityError:
                continue  # the comparison of its rows says so
            counted = entry.outside.commitment.count if entry.outside else 0
            if held and sum(one.rows for one in held) == counted:
                compared = [one for one in held if self.months.holds(one.month)]
                self.commits.append(_Commit(place, entry.first_offset, entry.last_offset, compared))

    def leave_out(self, archive: Archive, spot: Callable[[], bool] = _by_chance) -> None:
        """Tell an archive what need not be read of it; it is not looked through yet."""
        named: dict[tuple[str, bytes], list[tuple[_Commit, Held]]] = {}
        for commit in self.commits:
            for one in commit.held:
                named.setdefault((str(one.month), one.digest), []).append((commit, one))
        wanted = _candidates(archive, named)
        found = _digests(archive.objects, [file for file, _ in wanted])
        for (file, digest), there in zip(wanted, found, strict=True):
            mine = named[file.partition["month"], digest]
            if there != digest or spot():
                continue
            for commit, _ in mine:
                commit.paths.append(file.path)
                archive.scoped.add((file.path, commit.place))
            if _all_told(mine):
                archive.closed.add(file.path)

    def settle(self, archive: Archive) -> None:
        """Read what has to be read all the same, now that it is known where all other rows lie."""
        doubted = list(self.commits)
        while doubted:
            elsewhere = {place: _Offsets(archive, place) for place in {commit.place for commit in doubted}}
            reopened: set[str] = set()
            for commit in doubted:
                whole = len(commit.paths) == len(commit.held)
                if not whole or elsewhere[commit.place].touch(commit.first, commit.last):
                    reopened.update(commit.paths)
                    archive.scoped.difference_update((path, commit.place) for path in commit.paths)
                    commit.held, commit.paths = [], []
            archive.open_again(reopened & archive.closed)
            self.commits = [commit for commit in self.commits if commit.held]
            # Rows that are read now may lie among the offsets of others.
            doubted = self.commits if reopened else []
        for commit in self.commits:
            self.proven.setdefault(commit.place, set()).add(commit.first)


class _Offsets:
    """Between which offsets rows out of scope of a topic-partition may lie that are read one by one."""

    def __init__(self, archive: Archive, place: TopicPartition) -> None:
        spans = sorted(
            (group.first, group.last)
            for group in archive.groups.get(place, ())
            if (group.file.path, place) not in archive.scoped
        )
        self._firsts = [first for first, _ in spans]
        self._lasts = list(accumulate((last for _, last in spans), max))

    def touch(self, first: int, last: int) -> bool:
        """Tell whether any of them may be from `first` to `last`."""
        before = bisect_right(self._firsts, last)
        return before > 0 and self._lasts[before - 1] >= first


def _all_told(mine: list[tuple[_Commit, Held]]) -> bool:
    """Tell whether what commits say of a file accounts for every row in it, and none is in scope."""
    return all(one.of == sum(held.rows for _, held in mine) for _, one in mine)


def _candidates(
    archive: Archive, named: dict[tuple[str, bytes], list[tuple[_Commit, Held]]]
) -> list[tuple[DataFile, bytes]]:
    """Choose the files that may be as they were written: by their names, which have the first bytes of a digest."""
    by_name: dict[tuple[str, str], list[bytes]] = {}
    for month, digest in named:
        by_name.setdefault((month, digest[:8].hex()), []).append(digest)
    there = Counter(digest_of(file.path) for file in archive.files)
    wanted = []
    for file in archive.files:
        name = digest_of(file.path)
        if name is None or there[name] != 1:
            continue
        month = file.partition["month"]
        digests = by_name.get((month, name), [])
        if len(digests) != 1:
            continue
        mine = named[month, digests[0]]
        places = [commit.place for commit, _ in mine]
        # From an object store, a file that has to be read anyway is not fetched twice.
        if len(set(places)) == len(places) and (archive.local or _all_told(mine)):
            wanted.append((file, digests[0]))
    return wanted


def _digests(objects: Objects, files: list[DataFile]) -> list[bytes | None]:
    """Return the SHA-256 of each file, None for one that is gone; two at a time."""
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(lambda file: _digest(objects, file), files))


def _digest(objects: Objects, file: DataFile) -> bytes | None:
    path = f"metadata/{file.path}"
    try:
        if Path(objects.root).is_dir():
            with opened(Path(objects.url(path))) as data:
                return file_digest(data, "sha256").digest()
        whole = objects.get(path)
    except OSError:
        return None  # whoever reads it says what is wrong
    return None if whole is None else sha256(whole).digest()
