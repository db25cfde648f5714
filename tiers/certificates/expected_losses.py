"""What is gone on purpose: forgotten months, expired archive months, erased people. So that the rest is missed."""

from __future__ import annotations

import re
import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from lethe.tiers.certificates import certificates, journal
from lethe.tiers.store.objects import Objects

_FOLDER: Final = "_erasures"
_KEYS: Final = re.compile(r"_keys/([0-9]{4}-[0-9]{2})\.w[0-9]+(?:(\.destroyed)?\.json|\.g[0-9]+(\.given-up))")


@dataclass(slots=True)
class ExpectedLosses:
    """`months`: those of which a key was destroyed, or lost and given up; `keyed`: those that have keys still, or had.

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
    def of(cls, objects: Objects) -> ExpectedLosses:
        """Collect what keys, certificates, journals and the notes of erasures say."""
        # What an erasure takes is noted in numbers below, whether it has ended or not.
        names = journal.open_names(objects)
        gone = cls(unfinished=any(not name.startswith(journal.ERASURE) for name in names))
        for path in objects.list("_keys"):
            if match := _KEYS.fullmatch(path):
                (gone.months if match[2] or match[3] else gone.keyed).add(match[1])
        noted = {path.split("/")[1] for path in objects.list(_FOLDER)}
        for path in objects.list(_FOLDER):
            gone._erased(orjson.loads(objects.get(path) or b"{}"))
        for certificate in certificates.every(objects):
            counts = certificate.get("counts", {})
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
