"""Commands about holds: what the law says must be kept although its time has come."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lethe.console.cli._root import new_app
from lethe.console.cli.people.window import CASE, FOR, LAW, PURPOSE
from lethe.console.cli.remote.calls import ask, with_case
from lethe.console.cli.shell import agree, asker, moment, progress, shell, typed
from lethe.operations.retention import hold
from lethe.operations.retention import hold_export as produce
from lethe.operations.window.communications import RESTRICTED
from lethe.schemas.errors import InputError
from lethe.schemas.words import counted

if TYPE_CHECKING:
    from lethe.console.cli.remote.server import Server
    from lethe.operations.asker import Asker

OF_CASE = Annotated[
    str | None,
    typer.Option("--case", help="The case it belongs to; needed through a service (LETHE_SERVER)."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = new_app("Legal holds: what must be kept although its time has come.")
    group.command("place")(hold_place)
    group.command("list")(hold_list)
    group.command("show")(hold_show)
    group.command("extend")(hold_extend)
    group.command("export")(hold_export)
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
    days: Annotated[
        int | None,
        typer.Option(
            "--days", min=1, max=3_660, help="It ends by itself after so many (60 is usual); extendable."
        ),
    ] = None,
    claims: Annotated[
        bool, typer.Option("--claims", help="Kept for legal claims, not by an order; an export says which.")
    ] = False,
    tell: Annotated[
        bool, typer.Option("--tell", help="An export may tell the person authority and reference.")
    ] = False,
    case: OF_CASE = None,
    purpose: FOR = None,
) -> None:
    """Keep records from being forgotten until the hold is released, or ends.

    Example: lethe hold place --authority "High Court" --reference HC-7 --review 2027-01-31 --subject +923001234567
    """
    invocation = shell(context)
    review_at = moment(review, "--review")
    assert review_at is not None  # noqa: S101  (a text was given)
    order = hold.Order(
        authority, reference, review_at, [typed(text) for text in subject or ()], account or (), message or (),
        moment(since, "--since"), moment(until, "--until"), days, claims, tell,
    )  # fmt: skip
    try:
        placed = ask(invocation, hold.place, asker(case, purpose), order)
    except InputError as error:
        raise typer.BadParameter(str(error)) from None

    def say() -> None:
        invocation.say(f"hold {placed.reference} ({placed.hold}) is in force until {_end(placed.ends)}")
        if placed.records:
            invocation.say(f"it covers {placed.records} records in {len(placed.months)} months so far")
        else:
            invocation.say(
                "it covers NOTHING that is here now: look whether what it names is written as the records have it"
            )

    invocation.answer(asdict(placed), say)


def hold_list(context: typer.Context) -> None:
    """Return every hold: in force, overdue for review, or released."""
    invocation = shell(context)
    rows = [asdict(listed) for listed in ask(invocation, hold.every)]
    columns = ["hold", "state", "reference", "authority", "placed", "review", "ends", "released"]
    invocation.answer(
        rows, lambda: invocation.table("Holds", columns, [[r[c] for c in columns] for r in rows])
    )


def hold_show(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(help="The hold's reference or id.")],
) -> None:
    """Return one hold in force: what it covers (counted, not named), what is set aside, what waits for it.

    Example: lethe hold show HC-7
    """
    invocation = shell(context)
    answer = asdict(ask(invocation, hold.show, asker(), reference))
    covers = ", ".join(f"{count} {what}" for what, count in answer["covers"].items())
    shown = {**answer, "covers": covers}
    invocation.answer(answer, lambda: invocation.table("", ["", ""], [[k, v] for k, v in shown.items()]))


def hold_extend(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(help="The hold's reference or id.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; goes into the audit log.")],
    days: Annotated[
        int | None, typer.Option("--days", min=1, max=3_660, help="So many more before it ends by itself.")
    ] = None,
    review: Annotated[str | None, typer.Option("--review", help="When it has to be looked at again.")] = None,
    case: OF_CASE = None,
    purpose: FOR = None,
) -> None:
    """Give a hold more days before it ends by itself, another review date, or both.

    Example: lethe hold extend HC-7 --days 60 --reason "order of 2026-12-01"
    """
    invocation = shell(context)
    try:
        extended = ask(
            invocation, hold.extend, asker(case, purpose), reference, reason, days, moment(review, "--review")
        )
    except InputError as error:
        raise typer.BadParameter(str(error)) from None
    said = f"hold {extended.reference} is in force until {_end(extended.ends)}; review {extended.review:%Y-%m-%d}"
    invocation.answer(asdict(extended), lambda: invocation.say(said))


def hold_export(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(help="The hold's reference or id.")],
    out: Annotated[Path, typer.Option("--out", help="A new directory.")],
    case: CASE,
    purpose: PURPOSE,
    law: LAW = None,
) -> None:
    """Produce what a hold keeps: records, originals, evidence, and certificates of what had gone before.

    Example: lethe hold export HC-7 --out hc-7 --case HC-7 --purpose "order of 2026-12-01"
    """
    invocation = shell(context)
    who = asker(case, purpose, law)
    with progress("records", None, shown=not invocation.json) as update:
        if invocation.server is None:
            done = produce.export(invocation.runtime, who, reference, out, lambda count: update(count, None))
        else:
            done = _handed_over(invocation.server, who, reference, out)

    def say() -> None:
        invocation.say(
            f"{counted(done.records, 'record')}, {counted(done.originals, 'original')}, "
            f"{counted(done.evidence, 'evidence file')} in {out}; "
            f"{counted(done.gone, 'certificate')} of what had gone before"
        )
        if done.withheld:
            invocation.say(f"{counted(done.withheld, 'record')} withheld. {RESTRICTED}")

    invocation.answer(asdict(done), say)


def _handed_over(server: Server, who: Asker, reference: str, out: Path) -> produce.Produced:
    """Have the service produce what a hold keeps, and write its files into a new folder."""
    produce.check_new(out)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "hold.zip"
        headers = server.download("/api/holds/export", {**with_case(who), "reference": reference}, file)
        told = next(value for name, value in headers.items() if name.lower() == "lethe-produced")
        produce.unpack(file, out)
    return produce.Produced(**json.loads(told))


def _end(ends: datetime | None) -> str:
    return "it is released" if ends is None else f"{ends:%Y-%m-%d %H:%M} UTC, when the sweep releases it"


def hold_release(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(help="The hold's reference or id.")],
    yes: Annotated[bool, typer.Option("--yes", help="Agree to it; needed without a terminal.")] = False,
    case: OF_CASE = None,
    purpose: FOR = None,
) -> None:
    """Release a hold: its key is destroyed, and what had waited for it is forgotten.

    Example: lethe hold release HC-7
    """
    invocation = shell(context)
    ends = ask(invocation, hold.before_release, reference)
    what = f"{counted(ends.records, 'record')} kept only for the hold {ends.name}: destroyed for ever"
    agree(invocation, yes, what, ends.name)
    released = ask(invocation, hold.release, asker(case, purpose), reference)
    answer = {
        "hold": released.hold,
        "certificate": released.certificate,
        "completed": released.completed,
    }
    invocation.answer(
        answer,
        lambda: invocation.say(
            f"hold {released.reference} is released, {counted(released.completed, 'deletion')} that had waited are "
            f"complete (certificate {released.certificate})"
        ),
    )
