"""Prove that a month's secret is lost for good, as far as that can be proven: what `lethe keys give-up` rests on.

A key that cannot be reached is not lost. So this is said only of a key whose provider answers, opens another key of
this warehouse just now (an empty mount, another warehouse's directory or a new token opens none) or is known to be the
right one otherwise, and has none of that name or another one. An older copy of the right key directory passes all this.
Against it helps time: the loss is noted, whoever still opens the key withdraws the note (a worker does within an hour,
and every sweep tries), and nothing may be given up before `WAIT` is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from lethe.keys.blobs import Blobs
from lethe.keys.keeping.keystore import Keystore, Known, LossNote, kek_id
from lethe.keys.kept import KeptNames
from lethe.keys.providers.choice import Providers
from lethe.schemas.errors import (
    ConfigurationError,
    ExpiredKeyError,
    IntegrityError,
    LetheError,
    TransientError,
)

WAIT: Final = timedelta(hours=3)
"""From the note to the end: an hour that keys stay in memory, an hour that clocks may differ, and a sweep between."""


def given_up_name(key_id: str, generation: int) -> str:
    """Name what is noted with the keys when a secret is given up."""
    return f"{key_id}.g{generation}.given-up"


@dataclass(frozen=True, slots=True)
class Loss:
    """A secret that is lost: its newest generation, and why it opens no more, as a person reads it."""

    generation: int
    why: str


class Losses:
    """Prove losses, note them, and mark secrets as given up."""

    def __init__(self, providers: Providers, blobs: Blobs, endings: KeptNames) -> None:
        self._providers = providers
        self._store = Keystore(blobs)
        self._endings = endings

    def prove(self, key_id: str, is_ours: Callable[[str], bool] = lambda _: False) -> Loss:
        """Return why a live secret opens no more. Nothing is changed.

        `is_ours` tells of a provider, by name, whether something else shows that it is this warehouse's.

        `LetheError` when it opens or there is none, `TransientError` when a provider does not answer,
        `ConfigurationError` when the key is there and does not open, was deleted and can be brought back, or nothing
        shows that it is the right provider.
        """
        known = self._store.known(key_id)
        if known.destroyed:
            raise LetheError(f"the keys {key_id} were destroyed; there is nothing to give up")
        if not known.usable:
            raise LetheError(f"there are no keys {key_id}; lethe keys list says which there are")
        reasons = [self._why(key_id, generation, is_ours) for generation in known.usable]
        return Loss(known.usable[-1], reasons[-1])

    def noted(self, key_id: str, loss: Loss) -> LossNote | None:
        """Return the note that says so, if somebody has said it."""
        return self._store.read_lost(key_id, loss.generation)

    def note(self, key_id: str, loss: Loss, note: LossNote) -> LossNote:
        """Note the loss and return the note; the one that is there, if somebody has said it before."""
        self._store.note_lost(key_id, loss.generation, note)
        return self._store.read_lost(key_id, loss.generation) or note

    def withdraw(self, key_id: str) -> bool:
        """Withdraw what is said of a key id; tell whether anything was."""
        known = self._store.known(key_id)
        if known.lost < 0:
            return False
        self._store.withdraw_lost(key_id, known.lost)
        return True

    def decide(self, key_id: str, generation: int) -> None:
        """Note with the keys that a secret is being given up: by that `give_up` knows its own.

        Raises `LetheError` when a secret of that key id opens, `TransientError` when a provider does not answer.
        """
        if given_up_name(key_id, generation) in self._endings.names():
            return
        for each in self._store.known(key_id).generations:
            if self._opens(key_id, each):
                raise LetheError(f"the keys {key_id} open: nothing is lost")
        self._endings.keep(given_up_name(key_id, generation))

    def give_up(self, key_id: str, generation: int, note: LossNote) -> None:
        """Mark a secret as given up, for ever; from here on nobody opens it, wherever its key comes back.

        Raises `IntegrityError` when nobody has decided so with these keys: that somebody had is only said in the
        warehouse, and what is given up is deleted, with a certificate.
        """
        if given_up_name(key_id, generation) not in self._endings.names():
            raise IntegrityError(
                f"the warehouse says that {key_id} is being given up, which nobody has begun with this key directory. "
                f"If it is lost, lethe keys give-up {key_id}; if not, somebody laid that down: remove its folder in "
                "_forgetting/"
            )
        self._store.mark_given_up(key_id, generation, note)
        self._store.withdraw_lost(key_id, generation)

    def said(self, known: Mapping[str, Known] | None = None) -> dict[str, LossNote]:
        """Return every note of a loss that is not given up yet, by key id, among what is `known` of key ids."""
        there = self._store.all() if known is None else known
        found = {k: self._store.read_lost(k, one.lost) for k, one in there.items() if one.lost >= 0}
        return {key_id: note for key_id, note in found.items() if note is not None}

    def _opens(self, key_id: str, generation: int, only: str | None = None) -> bool:
        """Tell whether a secret opens, in the provider `only` if one is named; raises `TransientError`."""
        try:
            wrapped = self._store.read(key_id, generation)
            if wrapped is None or only not in (None, wrapped.provider):
                return False
            self._providers.get(wrapped.provider).unwrap(kek_id(key_id, generation), wrapped.wrapped)
        except TransientError:
            raise
        except LetheError:
            return False
        return True

    def _why(self, key_id: str, generation: int, is_ours: Callable[[str], bool]) -> str:
        kek = kek_id(key_id, generation)
        try:
            wrapped = self._store.read(key_id, generation)
        except IntegrityError:
            wrapped = None
        if wrapped is None:
            return "the wrapped secret in the warehouse is damaged"
        provider = self._providers.get(wrapped.provider)
        try:
            provider.unwrap(kek, wrapped.wrapped)
        except ExpiredKeyError:
            if kek in provider.list():
                raise ConfigurationError(
                    f"the key {kek} was deleted in {provider.describe()} and can still be brought back there: bring it "
                    "back; if nobody can, it is lost when it is gone for good"
                ) from None
            why = f"the key was destroyed in {wrapped.provider}"
        except IntegrityError:
            why = f"the key of that name in {wrapped.provider} is another one"
        except ConfigurationError as error:
            if kek in provider.list():
                raise ConfigurationError(
                    f"the key is there and does not open, so it is not lost: {error}"
                ) from None
            why = f"there is no such key in {wrapped.provider}"
        else:
            raise LetheError(f"the keys {key_id} open: nothing is lost")
        if not is_ours(wrapped.provider):
            self._is_the_right_one(wrapped.provider, key_id)
        return why

    def _is_the_right_one(self, name: str, but: str) -> None:
        """Raise `ConfigurationError` unless another key of this warehouse opens in the provider just now."""
        provider = self._providers.get(name)
        for key_id, known in self._store.all().items():
            if key_id == but or known.destroyed or not known.usable:
                continue
            if self._opens(key_id, known.usable[-1], name):
                return
        raise ConfigurationError(
            f"no other key of this warehouse opens in {provider.describe()}: nothing shows that it is the right one; "
            "mount or restore it; if all its keys are lost, docs/operations.md (Disaster) says how to begin anew"
        )
