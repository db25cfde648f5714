"""Where a log lies: what is asked of its store, and how a published log is read from there, whatever its entries say.

Nothing that is read is trusted before it leads to a signed checkpoint. Paths are relative, with `/`; a log has a store
of its own (a directory, a prefix of a bucket).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Protocol

from lethe.integrity.log import merkle
from lethe.integrity.log.checkpoint import Checkpoint
from lethe.integrity.log.note import Note
from lethe.integrity.log.signing import KeyHistory
from lethe.integrity.log.tiles import ENTRIES, WIDTH, TreeTiles, decode_bundle, read_tile, tile_width
from lethe.schemas.errors import FencedError, IntegrityError

CHECKPOINT: Final = "checkpoint"
REPLAYS: Final = ("=replays", 0)
"""Stream and partition in the name of the log of what was replayed from quarantine: no stream is called so."""


class Reader(Protocol):
    """What reading and verifying a log needs."""

    def get(self, path: str) -> bytes | None:
        """Return the bytes at `path` or None. Raises `TransientError` when the store does not answer."""

    def list(self, folder: str) -> list[str]:
        """Return the paths of everything below `folder`, at any depth, sorted."""


class Store(Reader, Protocol):
    """What publishing a log needs. A write that has returned is durable, and seen whole or not at all."""

    def put(self, path: str, data: bytes) -> None:
        """Create an immutable object. The same bytes again is success; others raise `IntegrityError`."""

    def swap(self, path: str, old: bytes | None, new: bytes) -> None:
        """Replace `old` (None: nothing there) by `new`. Raises `FencedError` when something else is there."""

    def delete(self, *paths: str) -> None:
        """Remove objects; success when there are none."""


class Memory(Protocol):
    """What keeps, away from the store, which checkpoint of each log was signed or seen last."""

    def signed(self, origin: str) -> bytes | None:
        """Return the signed checkpoint of a log that was noted last, None when there is none."""

    def alone(self, origin: str) -> AbstractContextManager[Callable[[bytes], None]]:
        """Give what notes another one, while nobody else does."""


class MemoryStore:
    """A `Store` in memory."""

    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        self.objects = dict(objects or {})

    def get(self, path: str) -> bytes | None:
        """See `Reader.get`."""
        return self.objects.get(path)

    def list(self, folder: str) -> list[str]:
        """See `Reader.list`."""
        return sorted(path for path in self.objects if path.startswith(folder + "/"))

    def put(self, path: str, data: bytes) -> None:
        """See `Store.put`."""
        if self.objects.setdefault(path, data) != data:
            raise IntegrityError(
                f"{path} is there already with other bytes; nothing of a log is ever rewritten"
            )

    def swap(self, path: str, old: bytes | None, new: bytes) -> None:
        """See `Store.swap`."""
        if self.objects.get(path) != old:
            raise FencedError(f"{path} was changed by someone else meanwhile")
        self.objects[path] = new

    def delete(self, *paths: str) -> None:
        """See `Store.delete`."""
        for path in paths:
            self.objects.pop(path, None)


def log_origin(name: str, stream: str, partition: int) -> str:
    """Return the name of a topic-partition's log: `<signer's name>/<stream>/<partition>`."""
    return f"{name}/{stream}/{partition}"


class TileLog:
    """A published log, read-only, whatever its entries are. Its signed checkpoint authenticates what is returned.

    Raises `IntegrityError` naming what is missing or altered.
    """

    def __init__(self, reader: Reader, history: KeyHistory, origin: str, signed: bytes | None = None) -> None:
        """Open the log at its newest checkpoint, or at `signed`, an earlier one."""
        signed = signed or reader.get(CHECKPOINT)
        if signed is None:
            raise IntegrityError(f"the log {origin} has no checkpoint")
        self.reader = reader
        self.origin = origin
        self.note, self.checkpoint, self.signed_by = open_checkpoint(signed, history, origin)
        self.size = self.checkpoint.size
        self.tiles = TreeTiles(reader.get, self.size, self.checkpoint.root)
        self._bundle: tuple[int, list[bytes]] = (-1, [])

    def bundle(self, number: int) -> list[bytes]:
        """Return the entries `number * 256` and following, as bytes."""
        if self._bundle[0] != number:
            self._bundle = number, self._read(number)
        return self._bundle[1]

    def _read(self, number: int) -> list[bytes]:
        width = tile_width(0, number, self.size)
        entries = decode_bundle(read_tile(self.reader.get, ENTRIES, number, width))[:width]
        expected = self.tiles.tile(0, number)
        for place, leaf in enumerate(expected):
            if place >= len(entries) or merkle.leaf_hash(entries[place]) != leaf:
                state = "altered" if place < len(entries) else "missing"
                raise IntegrityError(f"entry {number * WIDTH + place} of the log {self.origin} is {state}")
        return entries


def open_checkpoint(signed: bytes, history: KeyHistory, origin: str) -> tuple[Note, Checkpoint, int]:
    """Read and verify a signed checkpoint of the log `origin`.

    Returns the note, the checkpoint and the number of the key set that has signed it. Raises `IntegrityError`
    when it is not signed by one, or is of another log.
    """
    note = Note.parse(signed)
    signers = history.verify(note)
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != origin or checkpoint.extension:
        raise IntegrityError(f"the checkpoint is not one of the log {origin}")
    return note, checkpoint, history.sets.index(signers)


def remember(memory: Memory, history: KeyHistory, origin: str, note: bytes) -> None:
    """Note a signed checkpoint, unless one of more entries is noted already."""
    size = open_checkpoint(note, history, origin)[1].size
    noted = memory.signed(origin)
    if noted == note:
        return
    with memory.alone(origin) as put:
        noted = memory.signed(origin)
        if noted is None or open_checkpoint(noted, history, origin)[1].size <= size:
            put(note)
