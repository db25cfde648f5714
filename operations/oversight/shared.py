"""Who looked at a person, for auditors, who are given no identifiers: somebody with the right asks and shares it.

What is shared are entries of the audit. That they are about one person links months of the audit, so they lie sealed
under the key of the officer's case, for thirty days at most, and go with it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import delete, select

from lethe.keys.ring import KeyRing
from lethe.keys.sealing import open_value, seal_value
from lethe.operations.access import tables
from lethe.operations.access.accounts import Person
from lethe.operations.access.cases import key_name, owned
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
            keys, name = self._ring.named(key_name(case.id)), str(uuid.uuid4())
            said = orjson.dumps({"entries": list(entries), "damage": list(damage)})
            session.execute(
                delete(tables.CaseEntry).where(
                    tables.CaseEntry.kind == _KIND, tables.CaseEntry.added <= now - KEPT
                )
            )
            session.add(
                tables.CaseEntry(
                    id=name,
                    case=case.id,
                    kind=_KIND,
                    digest=name,
                    sealed=seal_value(keys, "case_entries", "sealed", name, said),
                    author=officer.id,
                    added=now,
                )
            )

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
        said = orjson.loads(open_value(keys, "case_entries", "sealed", entry.id, entry.sealed))
        return Shared(reference, by, entry.added, said["entries"], said["damage"])
