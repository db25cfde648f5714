"""Verification in parts, each a task of plain values that can be done anywhere: no key, no token, no row is in one.

Two kinds: files are looked through for where the rows of each topic-partition lie, then topic-partitions are verified.
What comes of them is put together in the order of the whole, so that findings are the same wherever parts were done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import islice
from typing import Any, Final, TypeVar

from lethe.integrity.verify.findings import Finding, Kind
from lethe.integrity.verify.replays import At
from lethe.schemas.retention.calendar import Month
from lethe.tiers.archive.rows import Archive, Group
from lethe.tiers.compaction.plan import check_release, release
from lethe.tiers.delta.log import DataFile
from lethe.tiers.ledger.commits import TopicPartition

T = TypeVar("T")
Spread = Callable[[str, list[Any]], Iterable[Any]]
"""Does tasks of a kind (`LOOK`, `COMPARE`), anywhere, and returns what came of each, in their order."""

LOOK: Final = "verify.look"
COMPARE: Final = "verify.compare"
MOST_FINDINGS: Final = 10_000
"""Findings that a part names; of the rest it says how many there are."""
_ROWS: Final = 1_000_000


def looked_through(archive: Archive, spread: Spread) -> None:
    """Look through the files of an archive, a million rows or so a task."""
    chunks = list(_chunks(archive.files, lambda file: file.rows))
    tasks = [
        {"release": release(), "files": [asdict(f) for f in some], "stream": archive.wanted}
        for some in chunks
    ]
    for some, said in zip(chunks, spread(LOOK, tasks), strict=True):
        archive.findings += [finding_of(f) for f in said["findings"] if finding_of(f) not in archive.findings]
        for stream, partition, groups in said["groups"]:
            mine = archive.groups.setdefault((stream, partition), [])
            mine += [Group(some[at], *group) for at, *group in groups]


def look_through(archive: Archive, task: Any) -> Any:
    """Do a task of `looked_through`; `archive` is one of the warehouse, without files."""
    check_release(task["release"])
    files = [DataFile(**f) for f in task["files"]]
    mine = replace(archive, files=files, wanted=task["stream"], findings=[], groups={})
    mine.look_through()
    number = {f.path: at for at, f in enumerate(files)}
    return {
        "findings": [list(_plain(f)) for f in mine.findings],
        "groups": [
            [*place, [[number[g.file.path], g.number, g.first, g.last, g.alone, g.ordered] for g in groups]]
            for place, groups in mine.groups.items()
        ],
    }


def compare_tasks(
    archive: Archive,
    places: Sequence[TopicPartition],
    elsewhere: dict[TopicPartition, set[At]],
    asked: dict[str, Any],
) -> list[Any]:
    """Plan the topic-partitions to be verified, a million offsets or so a task. `asked`: what they are verified by."""
    tasks = []
    for some in _chunks(
        places, lambda place: sum(g.last - g.first + 1 for g in archive.groups.get(place, ()))
    ):
        files: dict[str, int] = {}
        groups = [
            [[files.setdefault(g.file.path, len(files)), g.number, g.first, g.last, g.alone, g.ordered]
             for g in archive.groups.get(place, ())]
            for place in some
        ]  # fmt: skip
        known = {f.path: f for f in archive.files}
        tasks.append(
            {
                **asked, "release": release(), "places": [list(place) for place in some], "groups": groups,
                "files": [asdict(known[path]) for path in files],
                "elsewhere": [sorted(map(list, elsewhere.get(place, ())), key=repr) for place in some],
            }
        )  # fmt: skip
    return tasks


def archive_of(archive: Archive, task: Any) -> tuple[Archive, dict[TopicPartition, set[At]]]:
    """Return what a task of `compare_tasks` says of the archive, and of rows that the log of replays answers for."""
    check_release(task["release"])
    files = [DataFile(**f) for f in task["files"]]
    places = [(str(stream), int(partition)) for stream, partition in task["places"]]
    groups = {
        place: [Group(files[at], *group) for at, *group in mine]
        for place, mine in zip(places, task["groups"], strict=True)
        if mine
    }
    elsewhere = {
        place: {(offset, index) for offset, index in mine}
        for place, mine in zip(places, task["elsewhere"], strict=True)
    }
    return replace(archive, files=files, findings=[], groups=groups), elsewhere


def said(findings: Iterator[Finding], report: Any) -> Any:
    """Return what a part found and counted."""
    named = [list(_plain(f)) for f in islice(findings, MOST_FINDINGS)]
    more = sum(1 for _ in findings)
    counts = {n: getattr(report, n) for n in COUNTED}
    return {"findings": named, "more": more, "counts": counts}


COUNTED: Final = ("logs", "entries", "rows", "outside", "silent", "stamps", "unpublished")


def finding_of(plain: Sequence[Any]) -> Finding:
    """Return a finding that was made plain."""
    return Finding(Kind(plain[0]), *plain[1:])


def _plain(finding: Finding) -> tuple[str, str, str, str | None]:
    return finding.kind.value, finding.where, finding.detail, finding.file


def month(text: str | None) -> Month | None:
    """Return a month that was made plain."""
    return None if text is None else Month.parse(text)


def _chunks(things: Sequence[T], rows: Callable[[T], int]) -> Iterator[list[T]]:
    """Yield things in their order, so many together that they have a million rows or so."""
    some: list[T] = []
    weight = 0
    for thing in things:
        some.append(thing)
        weight += rows(thing)
        if weight >= _ROWS:
            yield some
            some, weight = [], 0
    if some:
        yield some
