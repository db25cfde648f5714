"""Pages of the audit from its end: the newest entries that are wanted, and where the next page begins.

Only what a page needs is read, bundle by bundle, and no more than so many entries of it: an audit of years answers as
fast as one of a day. The signed checkpoint authenticates what is read; of what is shown each signature is checked.

A journal is in the order of its times but for the clocks of the machines that append to it: a day is allowed for.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from lethe.integrity.journal import SIGNATURE, JournalRead, check_entry
from lethe.integrity.log.tiles import WIDTH
from lethe.operations.audit.log import AuditLog, Damage, Wanted, each_once, order, parsed
from lethe.schemas.errors import IntegrityError

Entry = dict[str, Any]

_SLACK: Final = timedelta(days=1)
_PAST: Final = 4 * WIDTH
"""After so many entries in a row before the time asked for none is looked for: one wrong clock hides nothing."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a page. `after`: where to go on, by journal; empty for the newest.

    `limit`: entries shown, `most`: entries looked at for them. `since` <= time < `until` bound what is read, so that
    `wanted` is asked of less.
    """

    wanted: Wanted
    limit: int
    most: int
    since: datetime | None = None
    until: datetime | None = None
    after: Mapping[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Page:
    """Entries, newest first. `older`: where the next page begins, None when there is nothing more to read."""

    entries: list[Entry] = field(default_factory=list)
    total: int = 0
    """Entries there are in all journals, wanted or not."""
    looked_at: int = 0
    back_to: str | None = None
    """The time of the oldest entry that was looked at."""
    older: dict[int, int] | None = None


def page(audit: AuditLog, wish: Wish, on_damage: Damage) -> Page:
    """Return a page; `on_damage` is told what is not as it was signed, and the rest is read all the same."""
    done = Page()
    signer = audit.signer()
    if signer is None:
        return done
    reads: dict[int, JournalRead] = {}
    for number in audit.numbers(signer):
        read = audit.opened(signer, number, lambda error: on_damage(str(error)))
        if read is not None:
            reads[number] = read
    done.total = sum(read.log.size for read in reads.values())
    marks = {n: min(wish.after.get(n, read.log.size), read.log.size) for n, read in reads.items()}
    if wish.after:  # a journal that began since has newer entries only
        marks = {n: mark if n in wish.after else 0 for n, mark in marks.items()}
    for number, read in reads.items():
        marks[number] = _not_after(read, marks[number], wish.until, on_damage)
    ended: set[int] = set()
    journals = [_back(n, read, marks[n], wish, on_damage, ended) for n, read in reads.items()]
    shown: list[Entry] = []
    for entry, signed in heapq.merge(*journals, key=lambda one: order(one[0]), reverse=True):
        log, number = entry["log"], entry["number"]
        marks[log] = number
        done.looked_at += 1
        done.back_to = entry["time"]
        if wish.wanted(entry):
            try:
                check_entry(reads[log].history, reads[log].log.origin, number, signed)
                shown.append(entry)
            except IntegrityError as error:
                on_damage(str(error))
        if len(shown) == wish.limit or done.looked_at == wish.most:
            break
    else:
        marks = {}
    left = {n: mark for n, mark in marks.items() if mark and n not in ended}
    done.older = left or None
    done.entries = list(each_once(iter(shown)))
    return done


def _back(
    number: int, read: JournalRead, before: int, wish: Wish, on_damage: Damage, ended: set[int]
) -> Iterator[tuple[Entry, bytes]]:
    """Yield the entries of a journal before number `before`, newest first, with their signatures.

    A bundle that is altered or gone is told of and left out.
    """
    first = _text(wish.since - _SLACK) if wish.since else ""
    past = 0
    for bundle in range((before - 1) // WIDTH, -1, -1):
        try:
            signed = read.log.bundle(bundle)
        except IntegrityError as error:
            on_damage(str(error))
            continue
        for place in range(min(before - bundle * WIDTH, len(signed)) - 1, -1, -1):
            at = bundle * WIDTH + place
            try:
                entry = {"log": number, "number": at, **parsed(read, at, signed[place][SIGNATURE:])}
            except IntegrityError as error:
                on_damage(str(error))
                continue
            past = past + 1 if entry["time"] < first else 0
            if past > _PAST:
                ended.add(number)
                return
            yield entry, signed[place]
    ended.add(number)


def _not_after(read: JournalRead, size: int, until: datetime | None, on_damage: Damage) -> int:
    """Return how many of the first `size` entries to read for those before `until`: whole bundles after it are not."""
    if until is None:
        return size
    last = _text(until + _SLACK)
    low, high = 0, -(-size // WIDTH)  # the first `low` bundles are wanted, none from `high` on
    while low < high:
        middle = (low + high) // 2
        try:
            times = [str(parsed(read, 0, e[SIGNATURE:])["time"]) for e in read.log.bundle(middle)]
        except IntegrityError as error:
            on_damage(str(error))
            times = []
        if times and min(times) > last:
            high = middle
        else:
            low = middle + 1
    return min(size, high * WIDTH)


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")
