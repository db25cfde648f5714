"""Where the integrity log lies in the warehouse: a store of its own for each topic-partition, and one for its keys.

_log/<stream>/<partition>/…   the log of a topic-partition (docs/integrity.md, section 5)
_log/=replays/0/…             the log of what was replayed from quarantine
_log/keys/<n>                 the note that brought in key set n
_log/published                the version of the metadata table up to which every log is complete
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from lethe.integrity.log.signing import KeyHistory
from lethe.integrity.log.store import CHECKPOINT, REPLAYS, Reader, log_origin
from lethe.schemas.errors import FencedError, IntegrityError, TransientError
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.store.objects import Objects

if TYPE_CHECKING:  # the audit has entries of its own
    from lethe.integrity.log.entries import Log

FOLDER: Final = "_log"
PUBLISHED: Final = f"{FOLDER}/published"
_TAKEN: Final = frozenset({".", "..", "keys", "published"})


def folder_of(stream: str) -> str:
    """Return the folder of a stream's logs. `=` is in no stream's name, so that no two have the same folder."""
    # A store may write `~` in another way than it was given, and these names mean something else already.
    name = stream.replace("~", "=")
    return f"{FOLDER}/={name}" if name in _TAKEN else f"{FOLDER}/{name}"


def logs(objects: Objects) -> list[tuple[str, int]]:
    """Stream and partition of every topic-partition's log that has a checkpoint."""
    return logs_among(objects.list(FOLDER))


def logs_among(paths: Iterable[str]) -> list[tuple[str, int]]:
    """Return the same of a list of the folder's paths."""
    found = []
    for path in paths:
        parts = path.split("/")
        if len(parts) == 4 and parts[3] == "checkpoint" and parts[2].isdigit() and parts[1] != REPLAYS[0]:
            found.append((parts[1].removeprefix("=").replace("=", "~"), int(parts[2])))
    return sorted(found)


class LogStore:
    """A folder of the warehouse as `lethe.integrity.log.store.Store`."""

    def __init__(self, objects: Objects, folder: str, named: str = "log") -> None:
        """`named` is what the points are called at which a test lets the process die."""
        self._objects = objects
        self._folder = folder
        self._named = named

    @classmethod
    def of(cls, objects: Objects, stream: str, partition: int) -> LogStore:
        """Return the store of a topic-partition's log."""
        return cls(objects, f"{folder_of(stream)}/{partition}")

    def path(self, path: str) -> str:
        """Say where in the warehouse something of this log lies."""
        return f"{self._folder}/{path}"

    def get(self, path: str) -> bytes | None:
        """See `lethe.integrity.log.store.Reader.get`."""
        with _answering():
            return self._objects.get(f"{self._folder}/{path}")

    def list(self, folder: str) -> list[str]:
        """See `lethe.integrity.log.store.Reader.list`."""
        with _answering():
            found = self._objects.list(f"{self._folder}/{folder}")
        return sorted(path.removeprefix(f"{self._folder}/") for path in found)

    def put(self, path: str, data: bytes) -> None:
        """See `lethe.integrity.log.store.Store.put`."""
        with _answering():
            created = self._objects.create(f"{self._folder}/{path}", data)
        if not created and self.get(path) != data:
            raise IntegrityError(
                f"{self._folder}/{path} is there already with other bytes; nothing of a log is ever rewritten"
            )
        fail_point(f"{self._named}.put")

    def swap(self, path: str, old: bytes | None, new: bytes) -> None:
        """See `lethe.integrity.log.store.Store.swap`."""
        fail_point(f"{self._named}.swap")
        with _answering():
            swapped = self._objects.swap(f"{self._folder}/{path}", old, new)
        if not swapped:
            raise FencedError(f"{self._folder}/{path} was changed by someone else meanwhile")
        fail_point(f"{self._named}.swapped")

    def delete(self, *paths: str) -> None:
        """See `lethe.integrity.log.store.Store.delete`."""
        with _answering():
            self._objects.delete(*(f"{self._folder}/{path}" for path in paths))
        fail_point(f"{self._named}.deleted")


class OneLook:
    """A log as it is at the first look: what is replaced as it grows is asked of its store once.

    That is the checkpoint, the unfinished tiles and bundles, and what stamps there are. All else never changes, may be
    large, and is asked for each time.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._found: dict[str, bytes | None] = {}
        self._listed: dict[str, list[str]] = {}

    def get(self, path: str) -> bytes | None:
        """See `lethe.integrity.log.store.Reader.get`."""
        if path != CHECKPOINT and not (path.startswith("tile/") and ".p/" in path):
            return self._reader.get(path)
        if path not in self._found:
            self._found[path] = self._reader.get(path)
        return self._found[path]

    def list(self, folder: str) -> list[str]:
        """See `lethe.integrity.log.store.Reader.list`."""
        if folder not in self._listed:
            self._listed[folder] = self._reader.list(folder)
        return self._listed[folder]


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TransientError(
            f"the log's store does not answer ({type(error).__name__}); is it reachable?"
        ) from error


def publish_history(objects: Objects, history: KeyHistory) -> None:
    """Put the notes that brought in the signing keys where a verifier finds them.

    Raises `IntegrityError` when the warehouse has another chain: somebody signs with other keys.
    """
    store = LogStore(objects, f"{FOLDER}/keys")
    for number, note in enumerate(history.notes):
        # Not `put`: its words would not say what to do about it.
        known = store.get(str(number))
        if known is None:
            store.put(str(number), bytes(note))
        elif known != bytes(note):
            raise IntegrityError(
                f"the warehouse's signing keys (set {number}) are not those of this key directory: "
                "bring back the key file log.signing this warehouse was made with"
            )


def published_history(objects: Objects) -> KeyHistory | None:
    """Return the chain of signing keys as the warehouse has it; None when there is none. To be tied to a trusted
    key.
    """
    store = LogStore(objects, f"{FOLDER}/keys")
    notes: list[bytes] = []
    while (note := store.get(str(len(notes)))) is not None:
        notes.append(note)
    return KeyHistory.parse(notes) if notes else None


def published_log(objects: Objects, history: KeyHistory, topic_partition: tuple[str, int]) -> Log | None:
    """Return the log of a topic-partition as it is published; None when nothing of it is. Raises as `Log` does."""
    return read_log(LogStore.of(objects, *topic_partition), history, topic_partition)


def read_log(reader: Reader, history: KeyHistory, topic_partition: tuple[str, int]) -> Log | None:
    """Return the same of what reads that log."""
    from lethe.integrity.log.entries import Log

    signed = reader.get(CHECKPOINT)
    if signed is None:
        return None
    return Log(reader, history, log_origin(history.name, *topic_partition), signed)
