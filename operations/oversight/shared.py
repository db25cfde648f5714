"""Who looked at a person, for auditors, who are given no identifiers: somebody with the right asks and shares it.

What is shared are entries of the audit. That they are about one person links months of the audit, so they lie sealed
under the key of the officer's case, for thirty days at most, and go with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import delete, select

from lethe.keys.ring import KeyRing
from lethe.operations.access import tables
from lethe.operations.access.accounts import Person
from lethe.operations.access.cases import key_name, new_entry, opened_entry, owned
from lethe.operations.access.database import Database
from lethe.operations.access.grants import RefusedError
from lethe.operations.access.roles import Permission

KEPT: Final = timedelta(days=30)
_KIND: Final = "disclosures"


@dataclass(frozen=True, slots=True)
class Shared:
    """Who looked at one person: for which case it was asked, by whom and when; the entries, oldest first."""

    case: str
    by: str
    at: datetime
    entries: list[dict[str, Any]]
    damage: list[str]


class SharedDisclosures:
    """What officers have shared, in a database."""

    def __init__(self, database: Database, ring: KeyRing, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._ring = ring
        self._clock = clock

    def share(
        self, officer: Person, case_id: str, entries: Sequence[dict[str, Any]], damage: Sequence[str]
    ) -> None:
        """Share entries about one person with the auditors, under a case of one's own."""
        now = self._clock()
        with self._database.begin() as session:
            case = owned(session, officer, case_id, must_be_open=True)
            said = orjson.dumps({"entries": list(entries), "damage": list(damage)}).decode()
            session.execute(
                delete(tables.CaseEntry).where(
                    tables.CaseEntry.kind == _KIND, tables.CaseEntry.added <= now - KEPT
                )
            )
            keys = self._ring.named(key_name(case.id))
            entry = new_entry(keys, case, officer, _KIND, said, now)
            entry.digest = entry.id  # the same may be shared once more
            session.add(entry)

    def every(self, auditor: Person) -> list[Shared]:
        """List what is shared, newest first."""
        if Permission.AUDIT not in auditor.may():
            raise RefusedError("what is shared is for auditors")
        found = (
            select(tables.CaseEntry, tables.Case.reference, tables.Account.name)
            .join(tables.Case, tables.Case.id == tables.CaseEntry.case)
            .join(tables.Account, tables.Account.id == tables.CaseEntry.author)
            .where(
                tables.CaseEntry.kind == _KIND,
                tables.CaseEntry.added > self._clock() - KEPT,
                tables.Case.closed.is_(None),
            )
            .order_by(tables.CaseEntry.added.desc())
        )
        with self._database.begin() as session:
            rows = session.execute(found).all()
        return [self._opened(entry, reference, by) for entry, reference, by in rows]

    def _opened(self, entry: tables.CaseEntry, reference: str, by: str) -> Shared:
        keys = self._ring.named(key_name(entry.case))
        said = orjson.loads(opened_entry(keys, entry))
        return Shared(reference, by, entry.added, said["entries"], said["damage"])
