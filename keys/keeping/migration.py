"""Move keys to another provider, or to new key-encryption keys of the same one, while workers use them.

The secret of a month stays what it is, so nothing that was sealed has to be touched: it is wrapped again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lethe.keys.blobs import Blobs
from lethe.keys.keeping.keystore import Keystore, kek_id
from lethe.keys.providers.choice import Providers
from lethe.keys.secret import Secret
from lethe.schemas.errors import IntegrityError, LetheError, TransientError

_PASSES: Final = 20


@dataclass(frozen=True, slots=True)
class Moved:
    """One key id: from which provider to which, and whether anything had to be done."""

    key_id: str
    source: str
    target: str
    changed: bool


class Migration:
    """Move keys to the provider named `target`. Several may run at once; run again, it does what is left."""

    def __init__(
        self, providers: Providers, blobs: Blobs, clock: Callable[[], datetime], target: str
    ) -> None:
        self._providers, self._clock, self._target = providers, clock, target
        self._store = Keystore(blobs)

    def run(self) -> Iterator[Moved]:
        """Move every key, and make new ones over there from now on.

        1. Open the target: a wrong setting is found before anything changes.
        2. Name it in the warehouse as the provider of new keys. A crash from here on leaves keys in both; all open.
        3. Move one key after the other (`move`), until a pass finds nothing left: a worker that looked before step 2
           may have made one meanwhile.
        """
        # Step 1
        self._providers.get(self._target).list()
        # Step 2
        self._store.name_provider(self._target)
        # Step 3
        done: set[str] = set()
        for _ in range(_PASSES):
            left = [k for k, known in self._store.all().items() if known.usable and not known.destroyed]
            if done.issuperset(left):
                return
            for key_id in sorted(set(left) - done):
                moved = self.move(key_id)
                done.add(key_id)
                if moved is not None:
                    yield moved

    def move(self, key_id: str) -> Moved | None:
        """Move one key id; None when it was destroyed meanwhile.

        1. Read the newest wrapped secret and unwrap it where it is now.
        2. Make a key-encryption key in the target and wrap the secret under it. A crash here leaves a key that wrapped
           nothing that was kept; the next run uses it.
        3. Open what was wrapped and compare. What cannot be opened never replaces what can.
        4. Store it as the next generation. From here on every opening uses it: a worker that read the one before and
           finds its key gone looks again.
        5. Look for the mark of destruction: whoever destroys marks first, so either this sees the mark and takes the
           key away again, or the mark came later and destruction finds this generation, too.
        6. Open what is in force now, then destroy the key-encryption keys of the generations before. A crash before
           leaves them; the next run finds the newest generation in its place and does this step.
        """
        try:
            return self._move(key_id)
        except LetheError:
            if self._store.is_destroyed(key_id):
                return None
            raise

    def _move(self, key_id: str) -> Moved | None:
        # Step 1
        generations = self._store.known(key_id).usable
        if not generations:
            return None
        generation = generations[-1]
        wrapped = self._store.read(key_id, generation)
        if wrapped is None:
            return None
        if wrapped.provider != self._target:
            source = self._providers.get(wrapped.provider)
            secret = Secret(source.unwrap(kek_id(key_id, generation), wrapped.wrapped))
            # Steps 2 to 5
            generation = self._wrap_again(key_id, generation + 1, secret)
            if generation == 0:
                return None
        # Step 6
        changed = wrapped.provider != self._target
        newest = self._store.read(key_id, generation)
        if newest is None or newest.provider != self._target:
            raise TransientError(f"the key {key_id} is being moved by somebody else; run it again")
        self._providers.get(self._target).unwrap(kek_id(key_id, generation), newest.wrapped)
        for place in self._store.keks(key_id, self._store.known(key_id)):
            if place != (self._target, kek_id(key_id, generation)):
                provider = self._providers.get(place[0])
                if provider.destroyed_for_good_at(place[1]) is None:
                    provider.destroy(place[1])
                    changed = True
        return Moved(key_id, wrapped.provider, self._target, changed)

    def _wrap_again(self, key_id: str, generation: int, secret: Secret) -> int:
        """Do steps 2 to 5; returns the generation that is in force in the target, 0 when the keys were destroyed."""
        target, kek = self._providers.get(self._target), kek_id(key_id, generation)
        # Step 2
        target.create(kek)
        wrapped = target.wrap(kek, secret.reveal())
        # Step 3
        if Secret(target.unwrap(kek, wrapped)) != secret:
            raise IntegrityError(
                f"{target.describe()} gives back another secret for {key_id}: nothing was moved"
            )
        # Step 4
        created = self._store.created(key_id) or self._clock()
        if not self._store.store(key_id, generation, created, wrapped, self._target):
            winner = self._store.read(key_id, generation)
            if winner is not None and winner.provider != self._target:
                target.destroy(kek)
                raise IntegrityError(f"the key {key_id} is being moved to {winner.provider} at the same time")
        # Step 5
        if self._store.is_destroyed(key_id):
            target.destroy(kek)
            self._store.remove(key_id, (generation,))
            return 0
        return generation
