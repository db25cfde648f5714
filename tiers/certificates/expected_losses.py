"""What is gone on purpose: forgotten months, expired archive months, erased people. So that the rest is missed."""

from __future__ import annotations

import re
import secrets
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson

from lethe.schemas.retention.calendar import Month, window_end
from lethe.tiers.certificates import certificates, journal
from lethe.tiers.store.objects import Objects

_FOLDER: Final = "_erasures"
_KEYS: Final = re.compile(r"_keys/([1-8][0-9]{3}-(?:0[1-9]|1[0-2]))\.w([0-9]{1,4})(\.destroyed)?\.json")
_LOSS: Final = re.compile(r"([0-9]{4}-[0-9]{2})\.w[0-9]+\.given-up\..*")


@dataclass(slots=True)
class ExpectedLosses:
    """`months`: those that have ended and of which a key was destroyed, and those whose keys were lost and given up;
    `keyed`: those that have keys still, or had. A mark that a live month's key was destroyed, which no sweep does,
    explains nothing.

    `archive`, `quarantine` and `usage` count rows that certificates tell of, `erased` identifiers by month,
    `unfinished` says that something is being forgotten just now, so that not all of it is certified.
    """

    months: set[str] = field(default_factory=set)
    keyed: set[str] = field(default_factory=set)
    erased: Counter[str] = field(default_factory=Counter)
    archive: int = 0
    quarantine: int = 0
    usage: int = 0
    undone: set[str] = field(default_factory=set)  # streams of files that were taken out again
    unfinished: bool = False

    @classmethod
    def of(cls, objects: Objects, now: datetime) -> ExpectedLosses:
        """Collect what keys, certificates, journals and the notes of erasures say at `now`."""
        # What an erasure takes is noted in numbers below, whether it has ended or not.
        names = journal.open_names(objects)
        gone = cls(unfinished=any(not name.startswith(journal.ERASURE) for name in names))
        for path in objects.list("_keys"):
            if match := _KEYS.fullmatch(path):
                ended = window_end(Month.parse(match[1]), int(match[2])) <= now
                (gone.months if match[3] and ended else gone.keyed).add(match[1])
        gone.months |= {match[1] for name in names if (match := _LOSS.fullmatch(name))}
        noted = {path.split("/")[1] for path in objects.list(_FOLDER)}
        for path in objects.list(_FOLDER):
            gone._erased(orjson.loads(objects.get(path) or b"{}"))
        for certificate in certificates.every(objects):
            counts = certificate.get("counts", {})
            if certificate["kind"] == "loss":
                gone.months.add(str(certificate["what"]["month"]))
            if certificate["kind"] == "undo":
                gone.undone.add(str(certificate["what"]["stream"]))
            elif certificate["kind"] == "archive":
                gone.archive += int(counts["rows"])
            elif certificate["kind"] == "erasure" and certificate["work"] not in noted:
                for month in certificate["what"]["months"]:
                    gone._erased(month)
            else:
                rows = counts.get("rows_by_table", {})
                gone.quarantine += int(rows.get("quarantine", 0))
                gone.usage += int(rows.get("usage", 0))
        return gone

    def _erased(self, month: dict[str, Any]) -> None:
        if month:
            self.erased[str(month["month"])] += int(month["identifiers"])
            self.usage += int(month.get("usage", 0))


def note_erasure(
    objects: Objects, work: str, month: str, window_months: int, identifiers: int, usage: int
) -> None:
    """Note, before identifiers and records of usage are erased, how many will be.

    A crash before the certificate must not look like loss.

    Noted again by an erasure that is asked for again, so that what the notes say is never too little.
    """
    body = {"month": month, "window_months": window_months, "identifiers": identifiers, "usage": usage}
    objects.create(f"{_FOLDER}/{work}/{month}.{secrets.token_hex(4)}.json", orjson.dumps(body))
