"""Commands over the keys that sign the integrity log: made, shown, handed over."""

from __future__ import annotations

import typer

from lethe.console.cli.shell import Shell, progress, shell
from lethe.integrity.log.signing import KeyHistory
from lethe.operations.proof.publisher import publication_of
from lethe.operations.proof.signer import load_signer, rotate_signer, signer_of, signer_path
from lethe.schemas.errors import LetheError
from lethe.tiers.evidence.log_store import publish_history, published_history


def register(keys: typer.Typer) -> None:
    """Add the commands of this module to the group `keys`."""
    keys.command("init")(keys_init)
    keys.command("show")(keys_show)
    keys.command("rotate")(keys_rotate)


def history_of(here: Shell) -> KeyHistory:
    """The chain of signing keys: that of the key directory, else that of the warehouse."""
    signer = load_signer(here.settings.keys_dir)
    history = signer.history if signer is not None else published_history(here.runtime.objects)
    if history is None:
        raise LetheError(
            "there are no signing keys yet; lethe keys init makes them, as does the first record"
        )
    return history


def keys_init(context: typer.Context) -> None:
    """Make the keys that sign the integrity log, unless they are there, and show their verifier keys.

    Example: lethe keys init
    """
    here = shell(context)
    signer = signer_of(here.runtime)
    publish_history(here.runtime.objects, signer.history)
    _show(here, signer.history)


def keys_show(context: typer.Context) -> None:
    """The verifier keys: what somebody needs to check evidence, a log or a certificate. They are public.

    Example: lethe keys show
    """
    here = shell(context)
    _show(here, history_of(here))


def keys_rotate(context: typer.Context) -> None:
    """Hand over to new signing keys: the old ones sign for them and are then gone; every log is signed again.

    Whoever trusts an old key can follow the hand-over. Running workers take the new keys up by themselves.

    Example: lethe keys rotate
    """
    here = shell(context)
    signer = rotate_signer(here.settings.keys_dir, here.runtime.clock())
    with progress("logs signed", None, shown=not here.json) as update:
        publication_of(here.runtime).sign_again(update)
    _show(here, signer.history)


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
