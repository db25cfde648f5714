"""A log that entries are appended to one by one by whoever holds its keys, such as the audit.

It is published as every log is (tiles, bundles, signed checkpoints), but nothing else says what its entries are: an
entry stands in it before `append` returns. Each begins with an Ed25519 signature (64 bytes) over the log's origin, the
entry's number and its text, so an entry that a crash left without its checkpoint can be told from one put there.

Several processes may append to one journal, and each finds out what the others did; but they get in each other's way,
so whoever can takes a journal of his own. Specified in docs/audit.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lethe.integrity.log import merkle
from lethe.integrity.log.checkpoint import Checkpoint
from lethe.integrity.log.signing import KeyHistory, Signer
from lethe.integrity.log.store import CHECKPOINT, Memory, Reader, Store, TileLog, open_checkpoint, remember
from lethe.integrity.log.tiles import (
    ENTRIES,
    MAX_ENTRY,
    WIDTH,
    decode_bundle,
    edge_root,
    edge_tiles,
    encode_bundle,
    grow,
    tile_path,
)
from lethe.schemas.errors import FencedError, IntegrityError

SIGNATURE = 64
MAX_TEXT = MAX_ENTRY - SIGNATURE
_DOMAIN = b"lethe/entry/v1\x00"
AT_ONCE = 64
"""Entries that are published together; a crash leaves no more of them without a checkpoint."""
_TRIES = 5


@dataclass(slots=True)
class _State:
    """How far a journal has come: its checkpoint as it lies in the store, its unfinished tiles, its last bundle."""

    signed: bytes | None = None
    size: int = 0
    edge: dict[int, list[bytes]] = field(default_factory=dict)
    bundle: list[bytes] = field(default_factory=list)


class Journal:
    """A journal to append to. Not safe to use from several threads at once."""

    def __init__(self, store: Store, signer: Signer, memory: Memory, origin: str) -> None:
        self._store = store
        self._signer = signer
        self._memory = memory
        self.origin = origin
        self._state: _State | None = None

    def size(self) -> int:
        """Count the entries. Raises `IntegrityError` as `append` does."""
        self._state = self._current()
        return self._state.size

    def append(self, text: bytes, now: int) -> int:
        """Append an entry and return its number, as `append_all` does."""
        return self.append_all([text], now)[0]

    def append_all(self, texts: Sequence[bytes], now: int) -> list[int]:
        """Append entries and return their numbers; they are there to stay when this returns.

        At most `AT_ONCE`, for which there is one checkpoint. `now` is in seconds since 1970 and only goes into its
        signature.

        1. Open the journal at its checkpoint, unless it is open. It must continue the one that `memory` has: of a
           journal that is gone, cut back or put back nothing more is signed.
        2. Put the bundle with all of them where that with one more belongs: whoever appends beside finds it in his
           way. While the checkpoint is still the one of step 1, it is the only one that goes on from there, and is put
           where it belongs. A crash from here on leaves entries that no checkpoint speaks of: whoever comes next knows
           them by their signatures and takes all of them in before his own.
        3. Put the tiles of hashes. A crash leaves some that the next one puts again.
        4. Swap in the signed checkpoint. Where somebody else's is there by now, ours may have been taken in with it.
        5. Note the checkpoint in `memory`: from here on no entry can be cut off without a trace. A crash before
           leaves an older one there, from which the journal has grown; nothing was answered yet.
        6. Remove the unfinished tiles that are replaced. A crash leaves them behind, to no harm.

        Raises `IntegrityError` when the journal is not what was signed, `FencedError` when others append all the time.
        Then none of them has to be counted on, so that all can be put elsewhere.
        """
        if len(texts) > AT_ONCE or any(len(text) > MAX_TEXT for text in texts):
            raise ValueError(f"at most {AT_ONCE} entries of at most {MAX_TEXT:,} bytes")
        numbers: list[int] = [-1] * len(texts)
        for _ in range(_TRIES):
            # Step 1
            state = self._current()
            self._state = None  # whatever goes wrong from here on, it is opened anew
            waiting = [
                at for at, text in enumerate(texts) if not self._taken_in(numbers[at], text, state.size)
            ]
            if not waiting:
                return numbers
            # Step 2
            new: list[bytes] = []
            try:
                ends = self._put_entries(state, new, texts, waiting, numbers)
                self._publish(state, new, ends, now)
            except FencedError:
                continue
            except IntegrityError:
                if self._store.get(CHECKPOINT) == state.signed:
                    raise
                continue  # others have published meanwhile: what is in the way may be theirs
            self._state = state
            return numbers
        raise FencedError(f"others append to the log {self.origin} all the time")

    def sign_again(self, now: int) -> None:
        """Sign the newest checkpoint with the keys of today, after a hand-over; nothing of a journal without entries.

        A crash leaves the checkpoint that was there, or the new one: either is signed by a set of the chain. Raises
        as `append` does.
        """
        state = self._current()
        self._state = None
        if state.signed is None:
            return
        note = bytes(self._signer.sign(Checkpoint(self.origin, state.size, edge_root(state.edge)), now))
        self._store.swap(CHECKPOINT, state.signed, note)
        remember(self._memory, self._signer.history, self.origin, note)
        state.signed, self._state = note, state

    def _current(self) -> _State:
        """Return how far the journal has come: as it was left, if nobody else has appended since."""
        if self._state is not None and self._store.get(CHECKPOINT) == self._state.signed:
            return self._state
        return self._open()

    def _open(self) -> _State:
        noted = self._memory.signed(self.origin)  # first: others may append and note more meanwhile
        read = read_journal(self._store, self._signer.history, self.origin, noted)
        if read is None:
            return _State()
        edge = {level: list(hashes) for level, hashes in read.log.tiles.edge.items()}
        return _State(bytes(read.log.note), read.log.size, edge, list(read.tail))

    def _taken_in(self, tried: int, text: bytes, size: int) -> bool:
        """Tell whether an entry that was put as number `tried` stands in a tree of `size` that others published."""
        if not 0 <= tried < size:
            return False
        if self._holds(tried, text):
            return True
        self._take_back(tried + 1, size)
        return False

    def _holds(self, number: int, text: bytes) -> bool:
        """Tell whether an entry that others may have taken in is there, and note their checkpoint if it is."""
        read = read_journal(self._store, self._signer.history, self.origin, None)
        if read is None or read.entry(number) != self._entry(number, text):
            return False
        remember(self._memory, self._signer.history, self.origin, bytes(read.log.note))
        return True

    def _take_back(self, tried: int, size: int) -> None:
        """Remove what was put for a tree of `tried` entries, after others published one of `size` without it."""
        for path in _unfinished(tried) - _unfinished(size):
            self._store.delete(path)

    def _entry(self, number: int, text: bytes) -> bytes:
        return self._signer.endorse(_message(self.origin, number, text)) + text

    def _put_entries(
        self,
        state: _State,
        new: list[bytes],
        texts: Sequence[bytes],
        waiting: Sequence[int],
        numbers: list[int],
    ) -> set[str]:
        """Put the entries that wait, after those that others left; adds all of them to `new`, and their `numbers`.

        Returns the unfinished files on the way, which are replaced once all is published. Raises `FencedError` when
        others have published meanwhile.
        """
        ends: set[str] = set()
        while waiting:
            number = state.size + len(new)
            bundle = [*state.bundle, *new][number // WIDTH * WIDTH - (state.size - len(state.bundle)) :]
            some = waiting[: WIDTH - len(bundle)]
            mine = [self._entry(number + at, texts[which]) for at, which in enumerate(some)]
            first = tile_path(ENTRIES, number // WIDTH, len(bundle) + 1)
            try:
                self._store.put(first, encode_bundle([*bundle, *mine]))
                for at, which in enumerate(some):
                    numbers[which] = number + at
                added, waiting = mine, waiting[len(some) :]
            except IntegrityError:
                added = self._in_the_way(first, bundle, number)
            if len(added) > 1:
                if self._store.get(CHECKPOINT) != state.signed:
                    raise FencedError(f"others have appended to the log {self.origin}")
                whole = tile_path(ENTRIES, number // WIDTH, len(bundle) + len(added))
                self._store.put(whole, encode_bundle([*bundle, *added]))
                ends.add(first)
            new += added
            ends |= _unfinished(state.size + len(new))
        return ends

    def _in_the_way(self, path: str, bundle: list[bytes], number: int) -> list[bytes]:
        """Return the entries from `number` on that others have put after a bundle, each with its signature checked."""
        found = decode_bundle(self._store.get(path) or b"")
        if found[: len(bundle)] != bundle or not len(bundle) < len(found) <= WIDTH:
            raise IntegrityError(f"{path} is there already and does not continue the log {self.origin}")
        for at, entry in enumerate(found[len(bundle) :], number):
            check_entry(self._signer.history, self.origin, at, entry)
        return found[len(bundle) :]

    def _publish(self, state: _State, new: list[bytes], ends: set[str], now: int) -> None:
        """Publish entries that were put, and bring `state` up to date: steps 3 to 6 of `append`."""
        # Step 3
        before = _unfinished(state.size) | ends
        for path, tile in grow(state.size, state.edge, [merkle.leaf_hash(entry) for entry in new]):
            self._store.put(path, tile)
        # Step 4
        checkpoint = Checkpoint(self.origin, state.size + len(new), edge_root(state.edge))
        note = bytes(self._signer.sign(checkpoint, now))
        self._store.swap(CHECKPOINT, state.signed, note)
        # Step 5
        remember(self._memory, self._signer.history, self.origin, note)
        # Step 6
        self._store.delete(*sorted(before - _unfinished(checkpoint.size)))
        state.bundle = [*state.bundle, *new][
            (checkpoint.size // WIDTH) * WIDTH - (state.size - len(state.bundle)) :
        ]
        state.signed, state.size = note, checkpoint.size


@dataclass(frozen=True, slots=True)
class JournalRead:
    """A journal as it was at one checkpoint, by which every entry is authenticated."""

    log: TileLog
    history: KeyHistory
    tail: tuple[bytes, ...]
    """The entries of the last bundle if it is not full; in the store it is replaced as the journal grows."""

    def entry(self, number: int) -> bytes | None:
        """Return an entry with its signature, None if there is none of that number."""
        if not 0 <= number < self.log.size:
            return None
        whole = self.log.size // WIDTH
        return (self.tail if number // WIDTH == whole else self.log.bundle(number // WIDTH))[number % WIDTH]

    def texts(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield number and text of each entry from `start` on; raises `IntegrityError` for one that is not signed."""
        for number, entry in self.entries(start):
            yield number, check_entry(self.history, self.log.origin, number, entry)

    def entries(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield number and entry, with its signature, from `start` on; authenticated by the checkpoint alone."""
        for number in range(start, self.log.size):
            entry = self.entry(number)
            if entry is not None:
                yield number, entry


def read_journal(reader: Reader, history: KeyHistory, origin: str, noted: bytes | None) -> JournalRead | None:
    """Read a journal at its newest checkpoint; None when there is none and none was ever `noted`.

    `noted` is the checkpoint that is remembered away from the store, read before this is called. Raises
    `IntegrityError` when the journal is gone, cut back, put back, or is not what its checkpoint says.
    """
    while True:
        signed = reader.get(CHECKPOINT)
        try:
            if signed is None:
                if noted is None:
                    return None
                size = open_checkpoint(noted, history, origin)[1].size
                raise IntegrityError(
                    f"the log {origin} is gone: {size} entries were signed; bring its folder back from the backup"
                )
            log = TileLog(reader, history, origin, signed)
            tail = tuple(log.bundle(log.size // WIDTH)) if log.size % WIDTH else ()
            if noted is not None:
                check_continues(log, open_checkpoint(noted, history, origin)[1])
            return JournalRead(log, history, tail)
        except IntegrityError:
            if reader.get(CHECKPOINT) == signed:
                raise
            # It grew meanwhile, and what was unfinished was replaced.


def check_continues(log: TileLog, known: Checkpoint) -> None:
    """Raise `IntegrityError` unless a log continues an earlier checkpoint of it."""
    if log.size < known.size:
        raise IntegrityError(
            f"the log {log.origin} has {log.size} entries, but {known.size} were signed: entries were cut off or an "
            "older copy was put back; bring its folder back from the backup"
        )
    if log.tiles.root_at(known.size) != known.root:
        raise IntegrityError(
            f"the log {log.origin} does not continue the checkpoint of {known.size} entries that was signed: "
            "bring its folder back from the backup"
        )


def check_entry(history: KeyHistory, origin: str, number: int, entry: bytes) -> bytes:
    """Return the text of an entry; raises `IntegrityError` when it was not signed as that entry of that log."""
    signature, text = entry[:SIGNATURE], entry[SIGNATURE:]
    if not history.endorsed(_message(origin, number, text), signature):
        raise IntegrityError(f"entry {number} of the log {origin} was not signed by its keys")
    return text


def _message(origin: str, number: int, text: bytes) -> bytes:
    return b"".join((_DOMAIN, origin.encode(), b"\x00", number.to_bytes(8, "big"), text))


def _unfinished(size: int) -> set[str]:
    """Say where the unfinished tiles and the unfinished bundle of a log of that size lie."""
    paths = {tile_path(level, number, width) for level, number, width in edge_tiles(size)}
    if size % WIDTH:
        paths.add(tile_path(ENTRIES, size // WIDTH, size % WIDTH))
    return paths
