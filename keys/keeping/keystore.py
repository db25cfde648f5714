"""What the warehouse keeps about keys: wrapped secrets, marks of destruction, which provider makes new keys.

`_keys/ID.json` is the first wrapped secret of a key id, made where there was none: it is never replaced or removed
before the keys are destroyed, which is what keeps two workers from making two secrets. `_keys/ID.gN.json` is the same
secret wrapped again, for another provider or under a new key-encryption key; the highest N is the one in force.
`_keys/ID.destroyed.json` marks the keys as destroyed and is never removed. `_keys/provider.N.json` names the provider
that makes new keys; again the highest N counts.

`_keys/ID.gN.lost` notes that somebody says the secret of generation N (0: the first) opens no more; whoever opens it
removes the note. `_keys/ID.gN.given-up` marks that secret and all before it as given up, for ever (module `loss`): they
are opened by nobody, and the next generation is another secret. Former versions pass these two over.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lethe.keys.blobs import Blobs
from lethe.keys.keeping.wrapped import (
    Wrapped,
    destroyed_json,
    read_created,
    read_keks,
    read_wrapped,
    wrapped_json,
)
from lethe.keys.providers.choice import LOCAL
from lethe.keys.providers.interface import is_key_id
from lethe.schemas.errors import IntegrityError, TransientError

_FOLDER: Final = "_keys/"
_GENERATION: Final = re.compile(r"(.+)\.g([1-9][0-9]{0,5})")
_LOST: Final = re.compile(r"_keys/(.+)\.g([0-9]{1,6})\.(lost|given-up)")
_NAMED: Final = re.compile(r"_keys/provider\.([1-9][0-9]{0,5})\.json")


def kek_id(key_id: str, generation: int) -> str:
    """Name the key-encryption key of a generation: the key id itself for the first, `ID.gN` for later ones."""
    return key_id if generation == 0 else f"{key_id}.g{generation}"


def base_id(kek: str) -> str:
    """Return the key id that a key-encryption key belongs to."""
    match = _GENERATION.fullmatch(kek)
    return match[1] if match else kek


@dataclass(frozen=True, slots=True)
class Known:
    """What the warehouse has of one key id. `generations` are sorted; the last is in force.

    `given_up`: the generation up to which the secret is given up, -1 for none; `lost`: one that is said to be lost.
    """

    destroyed: bool
    generations: tuple[int, ...]
    given_up: int = -1
    lost: int = -1

    @property
    def usable(self) -> tuple[int, ...]:
        """The generations of the secret that is not given up."""
        return tuple(generation for generation in self.generations if generation > self.given_up)


@dataclass(frozen=True, slots=True)
class LossNote:
    """Who said when that a secret is lost, and why it is believed to be."""

    at: datetime
    who: str
    why: str


class Keystore:
    """Read and write the objects below `_keys/`."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def all(self) -> dict[str, Known]:
        """Return what is known of every key id."""
        marks: set[str] = set()
        found: dict[str, set[int]] = {}
        said: dict[tuple[str, str], int] = {}
        for path in self._blobs.list(_FOLDER):
            if (match := _LOST.fullmatch(path)) and is_key_id(match[1]):
                of = match[1], match[3]
                said[of] = max(said.get(of, -1), int(match[2]))
            name, _, end = path.removeprefix(_FOLDER).rpartition(".")
            if end != "json" or _NAMED.fullmatch(path):
                continue
            if name.endswith(".destroyed"):
                marks.add(name.removesuffix(".destroyed"))
            elif is_key_id(name):
                match = _GENERATION.fullmatch(name)
                found.setdefault(base_id(name), set()).add(int(match[2]) if match else 0)
        return {
            k: Known(
                k in marks,
                tuple(sorted(found.get(k, ()))),
                said.get((k, "given-up"), -1),
                said.get((k, "lost"), -1),
            )
            for k in marks | found.keys()
        }

    def known(self, key_id: str) -> Known:
        """Return what is known of one key id."""
        return self.all().get(key_id, Known(False, ()))

    def read(self, key_id: str, generation: int) -> Wrapped | None:
        """Read a wrapped secret; None when it is not there, `IntegrityError` when it is damaged."""
        path = _path(kek_id(key_id, generation))
        data = self._blobs.get(path)
        return None if data is None else read_wrapped(key_id, data, path)

    def store(self, key_id: str, generation: int, created: datetime, wrapped: bytes, provider: str) -> bool:
        """Store a wrapped secret where there is none; False when somebody was first."""
        data = wrapped_json(key_id, created, wrapped, provider)
        return self._blobs.create(_path(kek_id(key_id, generation)), data)

    def created(self, key_id: str, destroyed: bool = False) -> datetime | None:
        """Tell when the keys were first made, if that is known."""
        path = _path(f"{key_id}.destroyed" if destroyed else key_id)
        return read_created(key_id, self._blobs.get(path))

    def is_destroyed(self, key_id: str) -> bool:
        """Tell whether the keys are marked as destroyed."""
        return self._blobs.get(_path(f"{key_id}.destroyed")) is not None

    def mark_destroyed(self, key_id: str, now: datetime) -> None:
        """Mark the keys as destroyed, for ever. The mark keeps where their key-encryption keys were."""
        keks = [place for place in self.keks(key_id, self.known(key_id)) if place != (LOCAL, key_id)]
        mark = destroyed_json(key_id, self.created(key_id), now, keks)
        self._blobs.create(_path(f"{key_id}.destroyed"), mark)

    def keks(self, key_id: str, known: Known) -> list[tuple[str, str]]:
        """Return where the key-encryption keys are or were: (provider, name there), as wrapped secrets and mark say.

        A wrapped secret that is damaged is passed over: it must not keep the others from destruction.
        """
        places = []
        for generation in known.generations:
            with suppress(IntegrityError):
                if (wrapped := self.read(key_id, generation)) is not None:
                    places.append((wrapped.provider, kek_id(key_id, generation)))
        if known.destroyed:
            places += read_keks(key_id, self._blobs.get(_path(f"{key_id}.destroyed")))
        return places

    def remove(self, key_id: str, generations: tuple[int, ...]) -> None:
        """Remove wrapped secrets, which nothing opens any more."""
        for generation in generations:
            self._blobs.delete(_path(kek_id(key_id, generation)))

    def note_lost(self, key_id: str, generation: int, note: LossNote) -> bool:
        """Note that a secret is said to be lost; False when somebody has said so before."""
        return self._blobs.create(_lost_path(key_id, generation, "lost"), _note_json(key_id, note))

    def read_lost(self, key_id: str, generation: int) -> LossNote | None:
        """Read the note that a secret is said to be lost, None when there is none."""
        return _read_note(self._blobs, _lost_path(key_id, generation, "lost"))

    def withdraw_lost(self, key_id: str, generation: int) -> None:
        """Remove the note that a secret is said to be lost: it opens, or it is given up."""
        self._blobs.delete(_lost_path(key_id, generation, "lost"))

    def mark_given_up(self, key_id: str, generation: int, note: LossNote) -> None:
        """Mark a secret, and those before it, as given up for ever."""
        self._blobs.create(_lost_path(key_id, generation, "given-up"), _note_json(key_id, note))

    def read_given_up(self, key_id: str, generation: int) -> LossNote | None:
        """Read when a secret was given up, None when it was not."""
        return _read_note(self._blobs, _lost_path(key_id, generation, "given-up"))

    def named_provider(self) -> str | None:
        """Return the provider that makes new keys; None when the warehouse does not name one."""
        numbers = self._numbers()
        if not numbers:
            return None
        data = self._blobs.get(f"{_FOLDER}provider.{numbers[-1]}.json")
        try:
            return str(json.loads(data or b"")["provider"])
        except (ValueError, KeyError, TypeError):
            raise IntegrityError(
                f"_keys/provider.{numbers[-1]}.json is damaged: restore it from the warehouse's backup"
            ) from None

    def name_provider(self, name: str) -> None:
        """Name the provider that makes new keys from now on."""
        for _ in range(20):
            if self.named_provider() == name:
                return
            number = (self._numbers() or [0])[-1] + 1
            data = json.dumps({"version": 1, "provider": name}).encode() + b"\n"
            if self._blobs.create(f"{_FOLDER}provider.{number}.json", data):
                return
        raise TransientError("others name providers all the time; try again")

    def _numbers(self) -> list[int]:
        return sorted(int(m[1]) for p in self._blobs.list(_FOLDER) if (m := _NAMED.fullmatch(p)))


def _lost_path(key_id: str, generation: int, what: str) -> str:
    return f"{_FOLDER}{key_id}.g{generation}.{what}"


def _note_json(key_id: str, note: LossNote) -> bytes:
    fields = {"version": 1, "key_id": key_id, "at": note.at.isoformat(), "who": note.who, "why": note.why}
    return json.dumps(fields, indent=1).encode() + b"\n"


def _read_note(blobs: Blobs, path: str) -> LossNote | None:
    data = blobs.get(path)
    if data is None:
        return None
    try:
        fields = json.loads(data)
        return LossNote(datetime.fromisoformat(fields["at"]), str(fields["who"]), str(fields["why"]))
    except (ValueError, KeyError, TypeError):
        raise IntegrityError(f"{path} is damaged: restore it from the warehouse's backup") from None


def _path(name: str) -> str:
    return f"{_FOLDER}{name}.json"
