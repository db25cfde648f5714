"""Give up a month's keys that are lost without a copy, so that the warehouse can go on; in two steps, audited.

One person says that they are lost; nothing changes by it. Hours later, if nobody has opened them meanwhile, somebody
gives them up: where the service has accounts that has to be another person.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from lethe.keys.keeping.keystore import Known, LossNote
from lethe.keys.keeping.loss import WAIT, Loss
from lethe.keys.providers.choice import LOCAL
from lethe.operations.asker import Asker, record
from lethe.operations.proof.signer import load_signer
from lethe.operations.retention.sweep import maintenance_context
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import InputError, LetheError
from lethe.tiers.evidence.log_store import published_history
from lethe.tiers.retention import loss
from lethe.tiers.retention.expiry import Due
from lethe.tiers.retention.loss import GivenUp
from lethe.tiers.store.failpoint import fail_point

__all__ = ["GivenUp", "Said", "give_up", "look", "said", "say", "withdraw"]


@dataclass(frozen=True, slots=True)
class Said:
    """What is known of keys that are said to be lost. `since` and `who`: the note, None before there is one; `from_`:
    the instant from which they can be given up. `begun`: they are being given up already.
    """

    key_id: str
    why: str
    since: datetime | None
    who: str | None
    from_: datetime | None
    begun: bool = False


def look(runtime: Runtime, key_id: str) -> Said:
    """Prove that a month's keys are lost, just now. Changes nothing; raises as `Losses.prove` does."""
    if _begun(runtime, _month(key_id)) is not None:
        return Said(key_id, "they are being given up", None, None, None, begun=True)
    found = _prove(runtime, key_id)
    return _said(key_id, found.why, runtime.ring.losses.noted(key_id, found))


def say(runtime: Runtime, asker: Asker, key_id: str, reason: str) -> Said:
    """Note that a month's keys are lost; from `from_` on they can be given up. Nothing else changes.

    1. Prove it, just now.
    2. Write the audit entry.
    3. Write the note, unless there is one. Whoever opens the keys from now on removes it.
    """
    # Step 1
    _month(key_id)
    found = _prove(runtime, key_id)
    # Step 2
    record(runtime, asker, "keys.lost", key=key_id, why=found.why, reason=reason)
    fail_point("lost.audited")
    # Step 3
    note = LossNote(runtime.clock(), asker.who, found.why)
    return _said(key_id, found.why, runtime.ring.losses.note(key_id, found, note))


def withdraw(runtime: Runtime, asker: Asker, key_id: str) -> bool:
    """Withdraw what was said; False if nothing was. What was given up stays so."""
    _month(key_id)
    record(runtime, asker, "keys.found", key=key_id)
    return runtime.ring.losses.withdraw(key_id)


def give_up(runtime: Runtime, asker: Asker, key_id: str, reason: str) -> GivenUp:
    """Give up a month's keys for ever, or end what was begun.

    1. Prove once more that they are lost, and that this was said long enough ago, by another person where there are
       accounts, and that nobody has sealed into the month since.
    2. Write the audit entry.
    3. Give them up (`lethe.tiers.retention.loss`). A crash leaves a journal; the next sweep, or asking again, ends it.
    """
    month = _month(key_id)
    maintenance = maintenance_context(runtime)
    if (generation := _begun(runtime, month)) is not None:
        record(runtime, asker, "keys.give-up", key=key_id, reason=reason, goes_on=True)
        runtime.ring.losses.decide(key_id, generation)
        return loss.finish(maintenance, month, generation)
    # Step 1
    losses = runtime.ring.losses
    found = _prove(runtime, key_id)
    note = losses.noted(key_id, found)
    if note is None:
        raise LetheError(
            f"nobody has said that {key_id} is lost, or somebody has opened it since; say so first"
        )
    now = runtime.clock()
    if now < note.at + WAIT:
        raise LetheError(
            f"{key_id} was said to be lost at {note.at:%Y-%m-%d %H:%M} UTC and can be given up from "
            f"{note.at + WAIT:%H:%M} UTC on, if nobody opens it meanwhile"
        )
    if note.who == asker.who and _has_accounts(runtime):
        raise LetheError(f"{note.who} has said that {key_id} is lost: another person has to give it up")
    if loss.sealed_since(maintenance.warehouse, month, note.at):
        losses.withdraw(key_id)
        raise LetheError(
            f"records were sealed under {key_id} after it was said to be lost: somebody has the key; look at the key "
            "directories, or providers, of all machines"
        )
    # Step 2
    record(runtime, asker, "keys.give-up", key=key_id, why=found.why, reason=reason)
    fail_point("give_up.audited")
    # Step 3
    return loss.begin(maintenance, month, found.generation, note)


def said(runtime: Runtime, known: Mapping[str, Known] | None = None) -> list[Said]:
    """List what is said to be lost and is not given up, among what is `known` of key ids."""
    noted = runtime.ring.losses.said(known)
    return [_said(key_id, note.why, note) for key_id, note in sorted(noted.items())]


def _begun(runtime: Runtime, month: Due) -> int | None:
    """Return the generation of a month's secret that is being given up already; None where none is."""
    return next((number for due, number in loss.unfinished(runtime.objects) if due == month), None)


def _prove(runtime: Runtime, key_id: str) -> Loss:
    """Prove that keys are lost, just now; raises as `Losses.prove` does."""
    return runtime.ring.losses.prove(key_id, partial(_is_ours, runtime))


def _is_ours(runtime: Runtime, provider: str) -> bool:
    """Tell whether the key directory is this warehouse's: it has the keys that its published log is signed with."""
    signer, published = load_signer(runtime.settings.keys_dir), published_history(runtime.objects)
    return (
        provider == LOCAL
        and signer is not None
        and published is not None
        and {str(key) for key in signer.history.keys} == {str(key) for key in published.keys}
    )


def _has_accounts(runtime: Runtime) -> bool:
    """Tell whether the service has a database here: then more than one person works with this warehouse."""
    url = runtime.settings.serve.url(runtime.settings.keys_dir)
    return not url.startswith("sqlite:///") or Path(url.removeprefix("sqlite:///")).exists()


def _said(key_id: str, why: str, note: LossNote | None) -> Said:
    if note is None:
        return Said(key_id, why, None, None, None)
    return Said(key_id, why, note.at, note.who, note.at + WAIT)


def _month(key_id: str) -> Due:
    month = None
    with suppress(ValueError):  # a thirteenth month
        month = loss.of_key(key_id)
    if month is None:
        raise InputError(f"{key_id} is no month's key; lethe keys list names them, such as 2026-11.w12")
    return month
