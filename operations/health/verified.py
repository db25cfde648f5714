"""Verify what is signed from a page, and keep what came of it, so that a board says when it was looked at last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import select

from lethe.operations.access import tables
from lethe.operations.access.database import Database
from lethe.operations.health import ledger
from lethe.operations.oversight import verify as audit
from lethe.operations.proof import verify as archive
from lethe.operations.retention import certificates
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import InputError, LetheError
from lethe.schemas.retention.calendar import Month

_LONGEST: Final = 1000


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at, when and by whom, and what was found: `ok` is False at any finding."""

    what: str
    title: str
    at: datetime | None
    by: str | None
    ok: bool | None
    told: str


class Verifications:
    """The verifications of an installation; what each found last is in the database."""

    def __init__(self, database: Database, runtime: Runtime) -> None:
        self._database = database
        self._runtime = runtime

    def every(self) -> list[Verification]:
        """List each verification there is, and what it found when it was asked for last."""
        with self._database.begin() as session:
            rows = {row.what: row for row in session.scalars(select(tables.Verification)).all()}
        return [
            Verification(what, title, None, None, None, "not asked for here yet")
            if (row := rows.get(what)) is None
            else Verification(what, title, row.at, row.by, row.ok, row.told)
            for what, (title, _) in LOOKS.items()
        ]

    def run(self, by: str, what: str) -> Verification:
        """Verify, and keep what was found. It changes nothing of what it looks at, and takes as long as it takes."""
        if what not in LOOKS:
            raise InputError(f"verify one of {', '.join(LOOKS)}")
        title, look = LOOKS[what]
        try:
            ok, told = look(replace(self._runtime))  # handles of its own: other requests go on meanwhile
        except LetheError as error:
            ok, told = False, str(error)
        at = self._runtime.clock()
        with self._database.begin() as session:
            session.merge(tables.Verification(what=what, at=at, by=by[:120], ok=ok, told=told[:_LONGEST]))
        return Verification(what, title, at, by, ok, told)


def _archive(months: int | None) -> Callable[[Runtime], tuple[bool, str]]:
    def look(runtime: Runtime) -> tuple[bool, str]:
        now = runtime.clock()
        since = None if months is None else Month.of(now).plus(-months).start()
        done = archive.verify(runtime, archive.Wanted(since=since), lambda *_: None)
        found = len(done.findings) + done.more
        if found:
            return False, f"{found:,} findings, the first: {done.findings[0]}"
        report = done.report
        rows = report.rows + report.outside
        return (
            True,
            f"{rows:,} rows in {report.logs:,} logs are as they were signed; {report.stamps:,} time stamps",
        )

    return look


def _ledger(runtime: Runtime) -> tuple[bool, str]:
    found = ledger.check(runtime)
    if found:
        return False, f"{len(found):,} findings, the first: {found[0]}"
    return True, "every offset is accounted for, and the tables hold what the ledger says"


def _audit(runtime: Runtime) -> tuple[bool, str]:
    done = audit.verify(runtime)
    if done.findings:
        return False, f"{len(done.findings):,} findings, the first: {done.findings[0]}"
    return True, f"{done.entries:,} entries are as they were signed, and none is missing"


def _certificates(runtime: Runtime) -> tuple[bool, str]:
    count = certificates.verify_all(runtime, certificates.own_keys(runtime))
    return True, f"{count:,} certificates are as they were signed, and none is missing"


LOOKS: Final[dict[str, tuple[str, Callable[[Runtime], tuple[bool, str]]]]] = {
    "newest": ("Archive, this month and the last", _archive(1)),
    "archive": ("Archive, all months", _archive(None)),
    "ledger": ("Ledger against the tables", _ledger),
    "audit": ("Audit log", _audit),
    "certificates": ("Deletion certificates", _certificates),
}
