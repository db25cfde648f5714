"""Commands over the keys: those of the months, and those that sign the integrity log."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lethe.console.cli._root import new_app
from lethe.console.cli.shell import Shell, agree, asker, progress, shell, show_verifier_keys
from lethe.operations.keys import give_up
from lethe.operations.keys.check import check_keys
from lethe.operations.keys.migrate import migrate
from lethe.operations.proof.signer import signer_path
from lethe.operations.proof.signing import KeyHistory, history_of, make_keys, rotate_keys
from lethe.schemas.errors import LetheError
from lethe.schemas.words import counted


def register(app: typer.Typer) -> None:
    """Add the group `lethe keys`."""
    keys = new_app("The keys of the months, and those that sign the integrity log.")
    keys.command("list")(keys_list)
    keys.command("check")(keys_check)
    keys.command("migrate")(keys_migrate)
    keys.command("give-up")(keys_give_up)
    keys.command("init")(keys_init)
    keys.command("show")(keys_show)
    keys.command("rotate")(keys_rotate)
    app.add_typer(keys, name="keys")


def keys_list(context: typer.Context) -> None:
    """Return the months there are keys for: live, ended or destroyed, and when they end.

    `given_up`: what came in before that instant is unreadable, because the month's keys of then were lost.
    """
    invocation = shell(context)
    now = invocation.runtime.clock()
    rows = [
        {"month": str(k.month), "window_months": k.window_months, "key": k.key_id, "state": k.state,
         "created": k.created, "ends": k.ends, "given_up": k.given_up}
        for k in invocation.runtime.ring.list(now)
    ]  # fmt: skip
    columns = ["month", "window_months", "key", "state", "created", "ends"]
    columns += ["given_up"] * any(k["given_up"] for k in rows)
    invocation.answer(
        rows, lambda: invocation.table("Keys of the months", columns, [[r[c] for c in columns] for r in rows])
    )


def keys_check(context: typer.Context) -> None:
    """Try every month's keys: each live month must open, each ended one must not. Status 1 if one is not as it must be.

    Example: lethe keys check
    """
    invocation = shell(context)
    reports = list(check_keys(invocation.runtime.ring, invocation.runtime.clock()))
    columns = ["key", "state", "opens", "gone since", "trouble"]
    rows = [[r.key_id, r.state, "yes" if r.opens else "no", r.gone, r.trouble] for r in reports]
    invocation.answer(
        [asdict(r) for r in reports], lambda: invocation.table("Keys, each tried just now", columns, rows)
    )
    wrong = [r for r in reports if r.trouble]
    if wrong:
        raise LetheError(f"{wrong[0].key_id}: {wrong[0].trouble}; {wrong[0].advice}")


def keys_migrate(
    context: typer.Context,
    to: Annotated[str, typer.Option("--to", help="The provider, as the configuration names it.")],
) -> None:
    """Move every key to another provider, while workers run; new keys are made there from then on.

    Workers need no restart if the provider stands in their configuration file by then. Interrupted, it goes on the
    next time. The keys in the provider they leave are destroyed one by one, each once the new one has opened.

    Example: lethe keys migrate --to hsm
    """
    invocation = shell(context)
    with progress("keys moved", None, shown=not invocation.json) as update:
        moved = list(migrate(invocation.runtime, asker(), to, update))
    changed = [m for m in moved if m.changed]
    invocation.answer(
        [asdict(m) for m in moved],
        lambda: invocation.say(
            f"{counted(len(changed), 'key')} moved to {to}, {len(moved) - len(changed)} were there already."
        ),
    )


def keys_give_up(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="The keys, as `lethe keys list` names them: 2026-11.w12.")],
    reason: Annotated[str, typer.Option("--reason", help="What happened; goes into the audit log.")] = "",
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take back that they are lost.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Agree without being asked.")] = False,
) -> None:
    """Give up a live month's keys that are lost without a copy, so that its records can come in again.

    Given twice, three hours apart, by two people where the service has accounts. The first time notes the loss and
    changes nothing; whoever opens the keys in between withdraws it. The second time takes what they had sealed out of
    the window, for ever, and makes other keys for the month.

    Example: lethe keys give-up 2026-11.w12 --reason "disk of the module died, no copy"
    """
    invocation = shell(context)
    runtime = invocation.runtime
    if withdraw:
        found = give_up.withdraw(runtime, asker(), key)
        told = f"{key} is not said to be lost any more." if found else f"Nobody has said that {key} is lost."
        invocation.answer({"key": key, "withdrawn": found}, lambda: invocation.say(told))
        return
    known = give_up.look(runtime, key)
    why = reason.strip()[:500]
    if not why and not known.begun:
        raise typer.BadParameter("say what happened with --reason")
    month = key.partition(".")[0]
    if known.since is None and not known.begun:
        agree(invocation, yes, f"{known.why}; that {key} is lost without a copy will be noted", month)
        noted = give_up.say(runtime, asker(), key, why)
        invocation.answer(
            asdict(noted),
            lambda: invocation.say(
                f"Noted: {key} is lost ({noted.why}). Nothing has changed: bring the key back if there is any copy. "
                f"From {noted.from_:%Y-%m-%d %H:%M} UTC on the same command gives it up."
            ),
        )
        return
    agree(invocation, yes, f"what {key} has sealed leaves the window for ever", month)
    done = give_up.give_up(runtime, asker(), key, why)
    invocation.answer(
        asdict(done),
        lambda: invocation.say(
            f"{key} is given up: {counted(done.rows, 'unreadable row')} left the window (certificate "
            f"{done.certificate}). Records of the month come in again, under other keys."
        ),
    )


def keys_init(context: typer.Context) -> None:
    """Make the keys that sign the integrity log, unless they are there, and show their verifier keys.

    Example: lethe keys init
    """
    invocation = shell(context, makes=True)
    _show(invocation, make_keys(invocation.runtime))


def keys_show(context: typer.Context) -> None:
    """Return the verifier keys: what somebody needs to check evidence, a log or a certificate. They are public.

    Example: lethe keys show
    """
    invocation = shell(context)
    _show(invocation, history_of(invocation.runtime))


def keys_rotate(context: typer.Context) -> None:
    """Hand over to new signing keys: the old ones sign for them and are then gone; every log is signed again.

    Whoever trusts an old key can follow the hand-over. Running workers take the new keys up by themselves.

    Example: lethe keys rotate
    """
    invocation = shell(context)
    with progress("logs signed", None, shown=not invocation.json) as update:
        history = rotate_keys(invocation.runtime, asker(), update)
    _show(invocation, history)


def _show(invocation: Shell, history: KeyHistory) -> None:
    told = f"Signs as {history.name}, key set {len(history.sets)}. Give these verifier keys to whoever has to check:"
    show_verifier_keys(invocation, history, told, file=str(signer_path(invocation.settings.keys_dir)))
