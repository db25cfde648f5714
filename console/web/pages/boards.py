"""Boards: what is forgotten when, what came in and where it went, whether it is as it was signed, who looked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from lethe.console.web.security import Form, Here, needs
from lethe.console.web.views import page
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import SignedIn
from lethe.operations.health import boards, ledger
from lethe.operations.health.doctor import checks
from lethe.operations.intake import quarantine
from lethe.operations.oversight.entries import Filter, newest
from lethe.operations.retention import certificates, hold
from lethe.schemas.errors import InputError, LetheError

router = APIRouter(include_in_schema=False)
Keeper = Annotated[SignedIn, Depends(needs(Permission.CERTIFICATES))]
Bookkeeper = Annotated[SignedIn, Depends(needs(Permission.LEDGER))]
Prover = Annotated[SignedIn, Depends(needs(Permission.INTEGRITY))]
Operator = Annotated[SignedIn, Depends(needs(Permission.HEALTH))]
Auditor = Annotated[SignedIn, Depends(needs(Permission.AUDIT))]
_SHOWN: Final = 200
_FACTS: Final = ("account", "roles", "what", "ok", "to", "how", "terminal", "grant", "key")
"""What an entry says beside who and why, and an auditor is shown: nothing of it is of a person but staff."""
_LONGEST: Final = 18  # digits of a number in a link
_COLUMNS: Final = (
    "stream",
    "partition",
    "messages",
    "records",
    "split",
    "late",
    "rejected",
    "tombstones",
    "redacted",
    "in_scope",
)


@router.get("/retention")
def retention(request: Request, service: Here, who: Keeper) -> Response:
    """Show each month's keys, the holds and whether their review is overdue, and what was certified."""
    now, rows = service.runtime.clock(), boards.archive_rows(service.runtime)
    return page(
        request,
        "retention.html",
        who,
        rows=rows,
        years=boards.archive_years(service.runtime, rows),
        months=service.runtime.ring.list(now)[::-1],
        holds=hold.every(service.runtime)[::-1],
        names=Permission.HOLD in who.person.may(),
        certificates=certificates.every(service.runtime)[::-1][:_SHOWN],
        now=now,
    )


@router.get("/retention/certificates/{number}")
def certificate(request: Request, service: Here, who: Keeper, number: int) -> Response:
    """Open a certificate, and verify it with the keys of this installation."""
    document = certificates.read(service.runtime, number)
    try:
        certificates.verify(document.file, certificates.own_keys(service.runtime))
        trouble = None
    except LetheError as error:
        trouble = str(error)
    return page(
        request, "certificate.html", who, number=number, certificate=document.certificate, trouble=trouble
    )


@router.get("/retention/certificates/{number}/file")
def certificate_file(service: Here, who: Keeper, number: int) -> Response:  # noqa: ARG001
    """Send a certificate as the file that verifies elsewhere."""
    headers = {"Content-Disposition": f'attachment; filename="certificate-{number}.json"'}
    return Response(
        certificates.read(service.runtime, number).file, media_type="application/json", headers=headers
    )


@router.get("/ledger")
def books(request: Request, service: Here, who: Bookkeeper) -> Response:
    """Show what came in by day and topic and where it went, and why records were rejected, with the trend."""
    rows = [[getattr(s, c) for c in _COLUMNS] for s in ledger.by_partition(service.runtime)]
    return page(
        request,
        "ledger.html",
        who,
        columns=_COLUMNS,
        rows=rows,
        days=boards.topic_days(service.runtime),
        reasons=boards.rejections(service.runtime),
        explain=quarantine.explained,
        shown=boards.DAYS,
    )


@router.get("/integrity")
def integrity(request: Request, service: Here, who: Prover) -> Response:
    """Show each log's checkpoint and time stamps, and what was verified last."""
    logs = list(boards.logs(service.runtime)) if service.runtime.has_warehouse() else []
    return page(request, "integrity.html", who, logs=logs, verifications=service.verifications.every())


@router.post("/integrity")
def verify(service: Here, who: Prover, form: Form) -> Response:
    """Verify now; what is found is kept, and in the audit."""
    what = form.get("what", "")
    found = service.verifications.run(who.person.name, what)
    service.audit({"who": who.person.name, "action": "verify", "what": found.what, "ok": found.ok})
    return RedirectResponse("/integrity", 303)


@router.get("/health")
def health(request: Request, service: Here, who: Operator) -> Response:
    """Show how the installation is: workers, what waits in each topic-partition, what `lethe doctor` finds."""
    runtime = service.runtime
    return page(
        request,
        "health.html",
        who,
        checks=list(checks(replace(runtime), {})),
        feeds=boards.feeds(runtime),
        workers=boards.readiness(runtime.settings.serve.workers),
        swept=boards.last_sweep(runtime) if runtime.has_warehouse() else None,
        now=runtime.clock(),
    )


@router.get("/audit")
def audit(request: Request, service: Here, who: Auditor) -> Response:
    """Show a page of the audit entries that are asked for, newest first; what needed a second person; break-glass."""
    damage: list[str] = []
    wanted, asked = _filter(request)
    after = _marks(request.query_params.get("after", ""))
    found = newest(service.runtime, wanted, after, _SHOWN, damage.append)
    earlier = service.runtime.audit.earlier
    names = {p.id: p.name for p in service.accounts.all()}
    return page(
        request,
        "audit.html",
        who,
        found=found,
        asked=asked,
        older=_link(asked, found.older) if found.older else None,
        newest=_link(asked, None) if after else None,
        earlier=earlier is not None and earlier.is_ours(),
        damage=damage,
        unreviewed=service.desk.unreviewed(),
        history=service.desk.history(who.person, _SHOWN),
        names=names,
        told=_told,
        now=service.runtime.clock(),
    )


def _told(entry: Mapping[str, Any]) -> str:
    """Say what an entry is of, beside who, case, purpose and count: whose account, which roles, what was verified."""
    found = {name: entry[name] for name in _FACTS if entry.get(name) not in (None, "", [])}
    said = [_plain(name, value) for name, value in found.items()]
    return "; ".join(said)


def _plain(name: str, value: Any) -> str:
    if name == "ok":
        return "as it was signed" if value is True else "not as it was signed"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if name in ("account", "what") else f"{name} {text[:8] if name == 'grant' else text}"


def _filter(request: Request) -> tuple[Filter, dict[str, str]]:
    """Read which entries are asked for: days in UTC, both included."""
    asked = {
        name: request.query_params.get(name, "").strip()
        for name in ("who", "action", "case", "since", "until")
    }
    try:
        since, until = (
            datetime.fromisoformat(asked[name]).replace(tzinfo=UTC) if asked[name] else None
            for name in ("since", "until")
        )
    except ValueError:
        raise InputError("dates are written 2026-03-14") from None
    after = None if until is None else until + timedelta(days=1)
    who, action, case = (asked[name] or None for name in ("who", "action", "case"))
    return Filter(who, action, case, since, after), asked


def _marks(text: str) -> dict[int, int]:
    """Read where a page goes on: `<journal>.<number>` for each journal."""
    try:
        pairs = [one.split(".") for one in text.split("_")] if text else []
        return {int(log[:_LONGEST]): int(number[:_LONGEST]) for log, number in pairs}
    except ValueError:
        raise InputError(
            "where to go on in the audit cannot be read; begin with its newest entries"
        ) from None


def _link(asked: Mapping[str, str], after: Mapping[int, int] | None) -> str:
    """Return the link to the page of the same entries that goes on at `after`, or begins with the newest."""
    given = {name: value for name, value in asked.items() if value}
    if after:
        given["after"] = "_".join(f"{log}.{number}" for log, number in sorted(after.items()))
    return f"/audit?{urlencode(given)}" if given else "/audit"
