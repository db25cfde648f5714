"""The public keys of the audit log, laid where a verifier finds them, and how they are handed over to new ones.

    AUDIT/<key id>/keys/<n>      the note that brought in key set n, beside the journals it signs
    WAREHOUSE/_audit/keys/<n>    the same, beside the anchors, which say how many there are and lead to their root
    KEYS/audit.signed/           remembers the note that was published last, as it does of each journal

The chain of notes is that of docs/integrity.md, section 6: each set is signed for by the one before. What was
remembered tells a key file that was put back to an earlier one, and a note that is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lethe.integrity.log.checkpoint import Checkpoint
from lethe.integrity.log.note import Note
from lethe.integrity.log.signing import KeyHistory
from lethe.keys.anchors import Anchors
from lethe.tiers.evidence.log_store import LogStore

FOLDER: Final = "keys"


def newest(history: KeyHistory, sets: int | None = None) -> Checkpoint:
    """Return the checkpoint of the log of keys that brought in the last of so many sets, by default of all."""
    return Checkpoint.parse(history.notes[(sets or len(history.notes)) - 1].text)


def publish(store: LogStore, history: KeyHistory) -> None:
    """Put the notes that are not there. One that is there and is another stays: whoever verifies is told."""
    for number, note in enumerate(history.notes):
        if store.get(f"{FOLDER}/{number}") is None:
            store.put(f"{FOLDER}/{number}", bytes(note))


def remember(memory: Anchors, history: KeyHistory) -> None:
    """Note beside the keys which set was published last, unless a later one is noted."""
    known = newest(history)
    if _remembered(memory, history) >= known.size:
        return
    with memory.alone(known.origin) as put:
        if _remembered(memory, history) < known.size:
            put(bytes(history.notes[-1]))


def findings(memory: Anchors, history: KeyHistory, store: LogStore) -> Iterator[str]:
    """Say what of the keys is not as it was published: notes at a place, and the chain by what is remembered."""
    noted = memory.signed(newest(history).origin)
    if noted is None:
        return  # of a release that published none; the next entry does
    sets = _remembered(memory, history)
    yield from not_continued(
        history, Checkpoint.parse(Note.parse(noted).text), "what is remembered with the keys"
    )
    yield from missing(history, store, min(sets, len(history.notes)))


def not_continued(history: KeyHistory, known: Checkpoint, by: str) -> Iterator[str]:
    """Say whether a chain is not one that goes on from a checkpoint of it; `by`: what knows of that."""
    if known.size > len(history.notes):
        yield (
            f"the audit's signing keys are of set {len(history.notes)}, but set {known.size} was there already "
            f"(by {by}): an older key file was put back; bring the newest one back"
        )
    elif newest(history, known.size).root != known.root:
        yield f"the audit's signing keys are not those there were (by {by}): bring the key file back from its backup"


def missing(history: KeyHistory, store: LogStore, sets: int) -> Iterator[str]:
    """Say which of the first notes are not, or not so, where a verifier looks for them."""
    for number, note in enumerate(history.notes[:sets]):
        found = store.get(f"{FOLDER}/{number}")
        where = store.path(f"{FOLDER}/{number}")
        if found is None:
            yield f"{where} is gone, which brought in a set of the audit's signing keys; the next entry puts it back"
        elif found != bytes(note):
            yield f"{where} is not what brought in the audit's signing keys: remove it, the next entry puts it back"


def _remembered(memory: Anchors, history: KeyHistory) -> int:
    noted = memory.signed(newest(history).origin)
    return 0 if noted is None else Checkpoint.parse(Note.parse(noted).text).size
