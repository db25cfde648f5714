"""Cases, grants and approvals at a service, from a terminal."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lethe.console.cli._root import new_app
from lethe.console.cli.remote.server import Server
from lethe.console.cli.shell import Shell, needs_server, shell, typed_each
from lethe.schemas.errors import InputError

REFERENCE = Annotated[str, typer.Argument(help="The reference of the case; it names nobody.")]
GRANT = Annotated[str, typer.Argument(help="The number of the request, or how it begins.")]
_CASES = ("reference", "purpose", "opened", "closed")
_GRANTS = ("id", "case", "action", "state", "used", "rows", "ends", "reason")
_TIMES = ("opened", "closed", "ends", "requested")
_SHOWN = 8
_WAITING = ("id", "person", "case", "purpose", "action", "values", "rows", "reason", "requested")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    case = new_app("Cases of one's own at a service: every look belongs to one.")
    case.command("list")(case_list)
    case.command("open")(case_open)
    app.add_typer(case, name="case")
    grants = new_app("Grants at a service: what one may do in a case, and until when.")
    grants.command("list")(grant_list)
    grants.command("ask")(grant_ask)
    grants.command("revoke")(grant_revoke)
    app.add_typer(grants, name="grants")
    approvals = new_app("Requests of others at a service that wait for a second person.")
    approvals.command("list")(approvals_list)
    approvals.command("approve")(approve)
    approvals.command("refuse")(refuse)
    app.add_typer(approvals, name="approvals")


def case_list(context: typer.Context) -> None:
    """List one's own cases, open ones first.

    Example: lethe case list
    """
    invocation = shell(context)
    _table(invocation, "Your cases", _CASES, _server(invocation).ask("GET", "/api/cases"))


def case_open(
    context: typer.Context,
    reference: REFERENCE,
    purpose: Annotated[str, typer.Option("--purpose", help="fraud, dispute, person or authority.")],
    title: Annotated[str, typer.Option("--title", help="What it is about; kept sealed.")] = "",
) -> None:
    """Open a case, with the grant to look up that comes with it.

    Example: lethe case open F-2041 --purpose fraud --title "SIM swap"
    """
    invocation = shell(context)
    wanted = {"reference": reference, "purpose": purpose, "title": title}
    made = _server(invocation).ask("POST", "/api/cases", wanted)
    invocation.answer(made, lambda: invocation.say(f"case {made['reference']} is open"))


def grant_list(context: typer.Context) -> None:
    """List one's own grants, newest first.

    Example: lethe grants list
    """
    invocation = shell(context)
    _table(invocation, "Your grants", _GRANTS, _server(invocation).ask("GET", "/api/grants"))


def grant_ask(
    context: typer.Context,
    action: Annotated[str, typer.Argument(help="What for, such as lookup, export or erase.")],
    case: Annotated[str, typer.Option("--case", help="The case it is for.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; a second person sees it word for word.")],
    value: Annotated[
        list[str] | None,
        typer.Option("--value", help="Whom or what it is for; - reads a list from standard input."),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="How many rows at most.")] = 100,
    break_glass: Annotated[
        bool,
        typer.Option("--break-glass", help="At once, for an hour; an auditor reviews it within a day."),
    ] = False,
) -> None:
    """Ask for a grant: given at once where it has no weight, else once a second person approves it.

    Example: lethe grants ask lookup --case F-2041 --reason "the month is not over" --rows 1000
    """
    invocation = shell(context)
    wanted = {
        "case": case,
        "action": action,
        "reason": reason,
        "rows": rows,
        "values": typed_each(value or [], 1_000),
        "break_glass": break_glass,
    }
    made = _server(invocation).ask("POST", "/api/grants", wanted)
    invocation.answer(made, lambda: invocation.say(f"{made['action']}: {made['state']}, {made['id']}"))


def grant_revoke(context: typer.Context, grant: GRANT) -> None:
    """Take a grant of one's own back.

    Example: lethe grants revoke 3f2a91c0
    """
    invocation = shell(context)
    server = _server(invocation)
    found = _one(server.ask("GET", "/api/grants"), grant)
    server.ask("DELETE", f"/api/grants/{found['id']}")
    invocation.answer({"id": found["id"], "state": "revoked"}, lambda: invocation.say("revoked"))


def approvals_list(context: typer.Context) -> None:
    """List what waits for a second person: exactly what was asked, word for word.

    Example: lethe approvals list
    """
    invocation = shell(context)
    _table(invocation, "Requests of others", _WAITING, _server(invocation).ask("GET", "/api/approvals"))


def approve(context: typer.Context, grant: GRANT) -> None:
    """Approve a request exactly as it was asked.

    Example: lethe approvals approve 3f2a91c0
    """
    _decide(context, grant, True)


def refuse(context: typer.Context, grant: GRANT) -> None:
    """Refuse a request.

    Example: lethe approvals refuse 3f2a91c0
    """
    _decide(context, grant, False)


def _decide(context: typer.Context, grant: str, approved: bool) -> None:
    invocation = shell(context)
    server = _server(invocation)
    found = _one(server.ask("GET", "/api/approvals"), grant)
    if not invocation.json:
        _table(invocation, "", _WAITING, [found])
    server.ask("POST", f"/api/approvals/{found['id']}", {"approve": approved, "digest": found["digest"]})
    state = "approved" if approved else "refused"
    invocation.answer({"id": found["id"], "state": state}, lambda: invocation.say(state))


def _one(rows: list[dict[str, Any]], begins: str) -> dict[str, Any]:
    found = [r for r in rows if r["id"].startswith(begins.lower())] if len(begins) >= 4 else []
    if len(found) != 1:
        raise InputError("there is no such request, or more than one begins so: the list has their numbers")
    return found[0]


def _server(invocation: Shell) -> Server:
    return needs_server(invocation, "cases, grants and approvals are at a service:")


def _table(invocation: Shell, title: str, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    def cell(name: str, value: Any) -> Any:
        if name == "id":  # as much of it as a command takes, so that no table breaks it
            return value[:_SHOWN]
        if name in _TIMES and value:
            return value[:16].replace("T", " ")
        return "\n".join(value) if isinstance(value, list) else value

    heads = [f"{c} (UTC)" if c in _TIMES else c for c in columns]
    invocation.answer(
        rows, lambda: invocation.table(title, heads, [[cell(c, r[c]) for c in columns] for r in rows])
    )
