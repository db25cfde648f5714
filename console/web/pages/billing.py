"""Billing: charges by account, month, route, network and currency, from the archive alone; disputes go to a case."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse
from starlette.responses import Response

from lethe.console.web.security import Form, Here, needs
from lethe.console.web.service import Service
from lethe.console.web.views import page
from lethe.operations.access.accounts import Person
from lethe.operations.access.cases import checked_reference
from lethe.operations.access.roles import Permission, Role
from lethe.operations.access.sessions import SignedIn
from lethe.operations.billing import DIMENSIONS, FORMS, NULL, Question, charges, write
from lethe.schemas.errors import InputError

router = APIRouter(include_in_schema=False)
Biller = Annotated[SignedIn, Depends(needs(Permission.ARCHIVE))]
_ROWS: Final = 500
_CHUNK: Final = 1 << 18
_FIRST: Final = ("account", "month")
_MOST_MESSAGES: Final = 50
_LONGEST_ID: Final = 300
_LONGEST_REASON: Final = 1000


@router.get("/billing")
def billing(request: Request, service: Here, who: Biller) -> Response:
    """Show what was charged, by the dimensions of the address; each value leads to what is within it."""
    question = _question(request)
    found = charges(service.runtime, question, _ROWS)
    return page(
        request,
        "billing.html",
        who,
        question=question,
        found=found,
        dimensions=DIMENSIONS,
        within=lambda name, value: _within(question, name, value),
        without=lambda name: _address(question.by, [(k, v) for k, v in question.only if k != name]),
        download=lambda form, what: (
            f"/billing/download?{_query(question.by, question.only)}&{urlencode({'form': form, 'what': what})}"
        ),
        null=NULL,
        narrowed={name for name, _ in question.only},
        stand_ins=any(isinstance(v, str) and v.startswith("~") for row in found.rows.rows for v in row),
        most=_ROWS,
        investigators=_investigators(service),
    )


@router.get("/billing/download")
def download(request: Request, service: Here, who: Biller) -> Response:
    """Send an answer, or every billable row of it, as a file: written first, so that what arrives is whole."""
    question, form = _question(request), request.query_params.get("form", "csv")
    every_row = request.query_params.get("what") == "rows"
    out = tempfile.TemporaryFile()  # noqa: SIM115  (closed when it was sent)
    try:
        count = write(service.runtime, question, form, every_row, out)
    except BaseException:
        out.close()
        raise
    service.audit({"who": who.person.name, "action": "billing.download", "count": count, "what": form})
    name = f"charges{'-rows' if every_row else ''}.{form}"
    return StreamingResponse(
        _sent(out),
        media_type=FORMS[form],
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Content-Length": str(out.tell())},
    )


@router.post("/billing/dispute")
def dispute(request: Request, service: Here, who: Biller, form: Form) -> Response:
    """Hand disputed messages to an investigator: a case of theirs, with the ids as targets and the reason as a note."""
    asked = _asked(service, form)
    service.audit(
        {
            "who": who.person.name,
            "action": "dispute.hand-over",
            "case": asked.reference,
            "to": asked.owner.name,
            "count": len(asked.messages),
        }
    )
    case = service.cases.open(asked.owner, asked.reference, "Disputed messages", "dispute")
    for message in asked.messages:
        service.cases.add(asked.owner, case.id, "target", message)
    service.cases.add(asked.owner, case.id, "note", f"Handed over by {who.person.name}: {asked.reason}")
    return page(request, "dispute.html", who, handed=asked)


@dataclass(frozen=True, slots=True)
class _Dispute:
    """A dispute that can be handed over: nothing of it is wrong."""

    messages: list[str]
    reason: str
    reference: str
    owner: Person


def _asked(service: Service, form: Mapping[str, str]) -> _Dispute:
    """Read a dispute. The audit keeps its reference for good: one that may name somebody never gets there."""
    ids = list(dict.fromkeys(filter(None, map(str.strip, form.get("messages", "").splitlines()))))
    reason = form.get("reason", "").strip()
    if not 0 < len(ids) <= _MOST_MESSAGES or not reason:
        raise InputError(f"give 1 to {_MOST_MESSAGES} message ids, one a line, and what is disputed")
    if max(map(len, ids)) > _LONGEST_ID or len(reason) > _LONGEST_REASON:
        raise InputError(
            f"a message id has up to {_LONGEST_ID} characters, what is disputed up to {_LONGEST_REASON:,}"
        )
    owner = next((p for p in _investigators(service) if p.id == form.get("to")), None)
    if owner is None:
        raise InputError("choose the investigator whose case it is to be")
    return _Dispute(ids, reason, checked_reference(form.get("reference", "")), owner)


def _question(request: Request) -> Question:
    asked = request.query_params
    by = [name for name in asked.getlist("by") if name] or (
        () if any(n in asked for n in DIMENSIONS) else _FIRST
    )
    return Question.of(by, {name: asked[name] for name in DIMENSIONS if asked.get(name)})


def _within(question: Question, name: str, value: Any) -> str:
    """Give the address of what is within one value: narrowed to it, by the next dimension that is not narrowed yet."""
    only = {**dict(question.only), name: NULL if value is None else str(value)}
    rest = [d for d in question.by if d not in only and d != "currency"]
    return _address(rest or [d for d in DIMENSIONS if d not in only][:1], only.items())


def _address(by: Iterable[str], only: Iterable[tuple[str, str]]) -> str:
    return f"/billing?{_query(by, only)}"


def _query(by: Iterable[str], only: Iterable[tuple[str, str]]) -> str:
    return urlencode([*(("by", name) for name in by), *only])


def _sent(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while chunk := file.read(_CHUNK):
            yield chunk


def _investigators(service: Service) -> list[Person]:
    return [p for p in service.accounts.all() if Role.INVESTIGATOR in p.roles and not p.disabled]
