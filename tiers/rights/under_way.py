"""What an erasure has done so far, durably, so that another process can end it and certify all of it.

The journal (`_forgetting/erasure-…`) has the commits of it, before and after each: months, counts and names of files,
nobody. Whom it is about lies beside it (`_erasing/erasure-…`), sealed under the keys of a month.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from lethe.schemas.errors import UnknownOutcomeError
from lethe.schemas.retention.calendar import window_end
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.certificates import certificates
from lethe.tiers.certificates.journal import ERASURE, Journal, file_entry, open_names
from lethe.tiers.delta.log import DataFile
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.rights.spread import Notes, noted, work_name
from lethe.tiers.store.objects import Objects
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.records import Part

COUNTS: Final = ("identifiers", "originals", "quarantine", "mentioned", "usage")
"""What an erasure counts of each month: rows, originals, rejected records, records of others that name the person,
records of usage data.
"""
SAID_BY_COMMIT: Final = "lethe.erasure"


@dataclass(slots=True)
class UnderWay:
    """An erasure; `journal` is None until something is about to be taken away. `subjects`: none if nobody can tell."""

    warehouse: Warehouse
    notes: Notes
    subjects: tuple[Subject, ...]
    journal: Journal | None = None

    @classmethod
    def new(cls, warehouse: Warehouse, subjects: tuple[Subject, ...], now: datetime) -> UnderWay:
        """Return an erasure of which nothing is noted yet."""
        return cls(warehouse, Notes(warehouse.objects, work_name(ERASURE, now)), subjects)

    @property
    def work(self) -> str:
        """What its certificate and its notes are known by."""
        return self.notes.work

    def begin(self, part: Part, last: Part, now: datetime) -> Journal:
        """Open the journal, whom it is about noted before under the keys that last longest. Again changes nothing."""
        if self.journal is None:
            self.notes.people(last if _end(last) > _end(part) else part, self.subjects)
            self.journal = Journal.open(self.warehouse.objects, self.work, now)
        return self.journal

    def about_to(
        self, journal: Journal, month: Mapping[str, Any], table: str, old: Sequence[DataFile]
    ) -> dict[str, Any]:
        """Note what a commit is about to take out of a table, and return the note; `month`: what is counted of it."""
        step = {
            "step": secrets.token_hex(8),
            "table": table,
            "version": self.warehouse.window[table].version,
            "month": dict(month),
            "files": [file_entry(table, f.path, f.size, f.rows) for f in old],
        }
        journal.note("step", [step])
        return step

    def said(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return what has been taken away so far, by month, and the files that held it."""
        if self.journal is None:
            return [], []
        ended = {e["step"]: e["landed"] for e in self.journal.noted("ended")}
        months: dict[tuple[str, int], dict[str, Any]] = {}
        files: list[dict[str, Any]] = []
        for step in sorted(self.journal.noted("step"), key=lambda s: (s["month"]["month"], s["step"])):
            if ended[step["step"]] if step["step"] in ended else self._landed(step):
                files += step["files"]
                said = step["month"]
                _add(months.setdefault((said["month"], said["window_months"]), {}), said)
        found = [m for _, m in sorted(months.items()) if any(m[name] for name in COUNTS)]
        return found, files + self.journal.noted("unnamed")

    def _landed(self, step: Mapping[str, Any]) -> bool:
        """Tell whether the commit came about that somebody noted who died then."""
        handle = self.warehouse.window[step["table"]]
        handle.reload()
        try:
            said = handle.info_since(int(step["version"]), SAID_BY_COMMIT)
        except UnknownOutcomeError:  # the log has been cleaned since: the files have gone, or they have not
            there = {f"{step['table']}/{f.path}" for f in files_of(handle)}
            return not any(file["path"] in there for file in step["files"])
        return any(name == step["step"] for _, name in said)

    def certified(self) -> dict[str, Any] | None:
        """Return its certificate if it has one: then a crash left nothing but notes."""
        if self.journal is None:
            return None
        objects = self.warehouse.objects
        return certificates.of_work(objects, self.work, certificates.numbers(objects)[self.journal.since :])

    def end(self) -> None:
        """Remove all notes, those that name somebody first."""
        self.notes.remove()
        if self.journal is not None:
            self.journal.close()


def info(step: Mapping[str, Any]) -> dict[str, str]:
    """Return what the commit of a step says of itself."""
    return {SAID_BY_COMMIT: json.dumps(step["step"])}


def unfinished(warehouse: Warehouse, parts: Iterable[Part], now: datetime) -> list[UnderWay]:
    """Return the erasures that have taken something away, or were about to, and have not ended, oldest first."""
    objects = warehouse.objects
    works = [name for name in open_names(objects) if name.startswith(ERASURE)]
    whom = noted(objects, parts) if works else {}
    return [
        UnderWay(warehouse, Notes(objects, work), whom.get(work, ()), Journal.open(objects, work, now))
        for work in works
    ]


def remove_idle(
    objects: Objects, parts: Iterable[Part], subjects: tuple[Subject, ...], but: str = ""
) -> None:
    """Remove notes of erasures of these people that died before they had taken anything away."""
    begun = set(open_names(objects))
    sought = set(subjects)
    for work, whom in noted(objects, parts).items():
        if work != but and work not in begun and sought & set(whom):
            Notes(objects, work).remove()


def _add(month: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        if name == "held":
            month[name] = max(month.get(name, 0), value)
        elif name == "holds":
            month[name] = sorted({*month.get(name, ()), *value})
        elif name in (*COUNTS, "evidence"):
            month[name] = month.get(name, 0) + value
        else:
            month[name] = value


def _end(part: Part) -> datetime:
    return window_end(part.month, part.window_months)
