"""Commands over the keys: those of the months, and those that sign the integrity log."""

from __future__ import annotations

import typer

from lethe.console.cli._root import new_app
from lethe.console.cli.shell import Shell, progress, shell
from lethe.integrity.log.signing import KeyHistory
from lethe.operations.proof.signer import signer_path
from lethe.operations.proof.signing import history_of, make_keys, rotate_keys


def register(app: typer.Typer) -> None:
    """Add the group `lethe keys`."""
    keys = new_app("The keys of the months, and those that sign the integrity log.")
    keys.command("list")(keys_list)
    keys.command("init")(keys_init)
    keys.command("show")(keys_show)
    keys.command("rotate")(keys_rotate)
    app.add_typer(keys, name="keys")


def keys_list(context: typer.Context) -> None:
    """The months there are keys for: live, ended or destroyed, and when they end."""
    here = shell(context)
    now = here.runtime.clock()
    rows = [
        {"month": str(k.month), "window_months": k.window_months, "key": k.key_id, "state": k.state,
         "created": k.created, "ends": k.ends}
        for k in here.runtime.ring.list(now)
    ]  # fmt: skip
    columns = ["month", "window_months", "key", "state", "created", "ends"]
    here.answer(
        rows, lambda: here.table("Keys of the months", columns, [[r[c] for c in columns] for r in rows])
    )


def keys_init(context: typer.Context) -> None:
    """Make the keys that sign the integrity log, unless they are there, and show their verifier keys.

    Example: lethe keys init
    """
    here = shell(context, makes=True)
    _show(here, make_keys(here.runtime))


def keys_show(context: typer.Context) -> None:
    """The verifier keys: what somebody needs to check evidence, a log or a certificate. They are public.

    Example: lethe keys show
    """
    here = shell(context)
    _show(here, history_of(here.runtime))


def keys_rotate(context: typer.Context) -> None:
    """Hand over to new signing keys: the old ones sign for them and are then gone; every log is signed again.

    Whoever trusts an old key can follow the hand-over. Running workers take the new keys up by themselves.

    Example: lethe keys rotate
    """
    here = shell(context)
    with progress("logs signed", None, shown=not here.json) as update:
        history = rotate_keys(here.runtime, update)
    _show(here, history)


def _show(here: Shell, history: KeyHistory) -> None:
    current = history.sets[-1]
    answer = {
        "name": history.name,
        "set": len(history.sets),
        "keys": [str(key) for key in current.keys],
        "earlier": [str(key) for keys in history.sets[:-1] for key in keys.keys],
        "file": str(signer_path(here.settings.keys_dir)),
    }

    def show() -> None:
        here.say(
            f"Signs as {history.name}, key set {len(history.sets)}. Give these verifier keys to whoever has to check:"
        )
        # As they are, a line each: to be copied, and never to be broken.
        for key in current.keys:
            typer.echo(str(key))

    here.answer(answer, show)
