"""Commands about holds: what the law says must be kept although its time has come."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lethe.console.cli._root import new_app
from lethe.console.cli.shell import Shell, asker, moment, shell, typed
from lethe.operations.asker import record
from lethe.operations.retention.sweep import registrar
from lethe.operations.window.identify import identify
from lethe.schemas.errors import LetheError
from lethe.tiers.holds.holds import Hold, Holds
from lethe.tiers.holds.release import finish_release
from lethe.tiers.holds.scope import Scope


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = new_app("Legal holds: what must be kept although its time has come.")
    group.command("place")(hold_place)
    group.command("list")(hold_list)
    group.command("show")(hold_show)
    group.command("release")(hold_release)
    app.add_typer(group, name="hold")


def hold_place(
    context: typer.Context,
    authority: Annotated[str, typer.Option("--authority", help="Who ordered it.")],
    reference: Annotated[str, typer.Option("--reference", help="The order's own reference.")],
    review: Annotated[str, typer.Option("--review", help="When it has to be looked at again.")],
    subject: Annotated[list[str] | None, typer.Option("--subject", help="A number or address.")] = None,
    account: Annotated[
        list[str] | None, typer.Option("--account", help="An account of the platform.")
    ] = None,
    message: Annotated[list[str] | None, typer.Option("--message", help="A message id.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Only communications from here on.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Only communications before.")] = None,
) -> None:
    """Keep records from being forgotten until the hold is released.

    Example: lethe hold place --authority "High Court" --reference HC-7 --review 2027-01-31 --subject +923001234567
    """
    here = shell(context)
    if not (subject or account or message):
        raise typer.BadParameter("name what it covers: --subject, --account or --message")
    if not 1 <= len(reference.strip()) <= 200 or not 1 <= len(authority.strip()) <= 200:
        raise typer.BadParameter("authority and reference have 1 to 200 characters")
    review_at = moment(review, "--review")
    assert review_at is not None  # noqa: S101  (a text was given)
    now = here.runtime.clock()
    if review_at <= now:
        raise typer.BadParameter("--review lies in the future")
    subjects = tuple(
        s
        for value in subject or ()
        for s in identify(typed(value), here.runtime.settings.line_countries).candidates
    )
    scope = Scope(
        subjects,
        tuple(account or ()),
        tuple(message or ()),
        moment(since, "--since"),
        moment(until, "--until"),
    )
    hold = _holds(here).place(authority.strip(), reference.strip(), review_at, scope, now)
    _audit(here, "hold.place", hold.id, hold.reference, authority=hold.authority)
    answer = {"hold": hold.id, "reference": hold.reference, "review": hold.review}
    here.answer(
        answer, lambda: here.say(f"hold {hold.reference} ({hold.id}) is in force until it is released")
    )


def hold_list(context: typer.Context) -> None:
    """Every hold: in force, overdue for review, or released."""
    here = shell(context)
    holds, now = _holds(here), here.runtime.clock()
    active = {h.id: h for h in holds.active()}
    rows = []
    for known in holds.known():
        hold = active.get(known.id)
        state = "released" if known.released else "overdue" if known.review <= now else "in force"
        rows.append(
            {"hold": known.id, "state": state, "reference": hold.reference if hold else None,
             "authority": hold.authority if hold else None, "placed": known.placed, "review": known.review,
             "released": known.released}
        )  # fmt: skip
    columns = ["hold", "state", "reference", "authority", "placed", "review", "released"]
    here.answer(rows, lambda: here.table("Holds", columns, [[r[c] for c in columns] for r in rows]))


def hold_show(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(help="The hold's reference or id.")],
) -> None:
    """One hold in force: what it covers (counted, not named), what is set aside, what waits for it.

    Example: lethe hold show HC-7
    """
    here = shell(context)
    holds = _holds(here)
    hold = holds.find(reference)
    scope = hold.scope
    answer = {
        "hold": hold.id, "reference": hold.reference, "authority": hold.authority, "placed": hold.placed,
        "review": hold.review, "overdue": hold.overdue(here.runtime.clock()),
        "covers": {"subjects": len({s.value for s in scope.subjects if s.kind == "opaque"}),
                   "accounts": len(scope.accounts), "messages": len(scope.messages)},
        "since": scope.since, "until": scope.until,
        "set_aside": sum(1 for _ in holds.records(hold)), "waiting_deletions": holds.waiting(hold),
    }  # fmt: skip
    _audit(here, "hold.show", hold.id, hold.reference)
    here.answer(answer, lambda: here.table("", ["", ""], [[k, v] for k, v in answer.items()]))


def hold_release(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(help="The hold's reference or id.")],
) -> None:
    """Release a hold: its key is destroyed, and what had waited for it is forgotten.

    Example: lethe hold release HC-7
    """
    here = shell(context)
    holds = _holds(here)
    hold_id, name = _to_release(holds, reference)
    _audit(here, "hold.release", hold_id, name)
    certificate = finish_release(holds, registrar(here.runtime), hold_id, here.runtime.clock())
    answer = {
        "hold": hold_id,
        "certificate": certificate["number"],
        "completed": len(certificate["completed"]),
    }
    here.answer(
        answer,
        lambda: here.say(
            f"hold {name} is released, {answer['completed']} deletion(s) that had waited are complete "
            f"(certificate {answer['certificate']})"
        ),
    )


def _to_release(holds: Holds, reference: str) -> tuple[str, str]:
    if reference in holds.unfinished():  # a crash came in between: its reference opens no more
        return reference, reference
    if any(k.id == reference and k.released for k in holds.known()):
        raise LetheError("this hold has been released already")
    hold: Hold = holds.find(reference)
    return hold.id, hold.reference


def _holds(here: Shell) -> Holds:
    return Holds(here.runtime.objects, here.runtime.ring)


def _audit(here: Shell, action: str, hold: str, reference: str, **more: Any) -> None:
    record(here.runtime, asker(), action, hold=hold, reference=reference, **more)
