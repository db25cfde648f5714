"""The audit log: who asked what, and for which case, durable before an answer is shown.

It is several journals (`lethe.integrity.journal`) side by side, numbered from 0: whoever appends takes the first
that nobody on this machine appends to just now, so that no one waits for another's disk. Together, in the order of
time, they are the audit. What lies where:

    AUDIT/<key id>/<number>/...      a journal: tiles, bundles of entries, checkpoint; an object store will do
    AUDIT/<key id>/keys/<n>          its public keys, see `lethe.operations.audit.keys`
    KEYS/audit-log.signing           the keys that sign it, apart from those of the months and of the integrity log
    KEYS/audit.signed/               the checkpoint of each journal that was signed last

`<key id>` is that of the first signing key: installations that share a place do not get in each other's way. Who can
write the place of the audit and nothing else can destroy it, but neither shorten nor change it without a trace.
"""

from __future__ import annotations

import errno
import fcntl
import heapq
import logging
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import orjson

from lethe.integrity.journal import (
    AT_ONCE,
    MAX_TEXT,
    SIGNATURE,
    Journal,
    JournalRead,
    check_entry,
    read_journal,
)
from lethe.integrity.log.checkpoint import Checkpoint
from lethe.integrity.log.note import Note
from lethe.integrity.log.signing import Signer
from lethe.keys.anchors import Anchors
from lethe.keys.files import make_directories, open_lock
from lethe.operations.audit import keys
from lethe.operations.audit.earlier import EarlierFile
from lethe.schemas.errors import ConfigurationError, FencedError, IntegrityError, LetheError, TransientError
from lethe.tiers.evidence.log_store import LogStore
from lethe.tiers.evidence.signer_file import load_signer_file, make_signer_file, rotate_signer_file
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.store.objects import Objects, open_objects

logger = logging.getLogger("lethe.audit")

KEY: Final = "audit-log.signing"
SIGNED: Final = "audit.signed"
BEGIN: Final = "audit.begin"
_WHAT: Final = "the audit log's key file"
_MOST: Final = 10_000
_ID_BYTES: Final = 16
Damage = Callable[[str], None]
Wanted = Callable[[Mapping[str, Any]], bool]


def every(_entry: Mapping[str, Any]) -> bool:
    """Want any entry."""
    return True


@dataclass(frozen=True)
class AuditLog:
    """The log at a place (a directory or an s3:// URL), whose keys lie in a key directory.

    `ready` is called before keys are made: it refuses a key directory that is not there. Safe to use from several
    threads.
    """

    place: str
    key_directory: Path
    log_name: str = "lethe"
    storage: Mapping[str, str] = field(default_factory=dict)
    earlier: EarlierFile | None = None
    ready: Callable[[], object] = lambda: None
    _journals: dict[int, Journal] = field(default_factory=dict, init=False, repr=False)
    _signers: dict[tuple[int, int], Signer] = field(default_factory=dict, init=False, repr=False)

    def append(self, entry: Mapping[str, Any], now: datetime) -> None:
        """Add an entry, as `append_all` does."""
        self.append_all([entry], now)

    def append_all(self, entries: Sequence[Mapping[str, Any]], now: datetime) -> None:
        """Add entries, return once all are durable; raises `ConfigurationError` or `TransientError` if one is not.

        A journal that is not what was signed is passed over: it takes no more entries, and whoever verifies is told.
        """
        # Machines that meet in one journal may both put it; by its id it is known as the same.
        time = now.astimezone(UTC).isoformat(timespec="microseconds")
        texts = [
            orjson.dumps(
                {"time": time, **entry, "id": secrets.token_hex(_ID_BYTES)}, option=orjson.OPT_SORT_KEYS
            )
            for entry in entries
        ]
        if any(len(text) > MAX_TEXT for text in texts):
            raise LetheError(f"an audit entry has at most {MAX_TEXT:,} bytes; ask for less at once")
        signer = self._made_signer(now)
        with self._explained("written"):
            if not self._journals:
                self._publish_keys(signer)
            for at in range(0, len(texts), AT_ONCE):
                self._append(signer, texts[at : at + AT_ONCE], int(now.timestamp()))

    def _append(self, signer: Signer, texts: Sequence[bytes], now: int) -> None:
        """Append entries to the first journal that takes them."""
        for number in range(_MOST):
            with self._alone(number) as mine:
                if mine and self._appended(signer, number, texts, now):
                    return
        raise ConfigurationError("no journal of it takes an entry")

    def _appended(self, signer: Signer, number: int, texts: Sequence[bytes], now: int) -> bool:
        journal = self._journals.get(number)
        if journal is None:
            journal = self._journals[number] = Journal(
                self.store(signer, number), signer, self.memory, origin_of(signer, number)
            )
        try:
            if number == 0 and self.earlier is not None and not journal.size() and self.earlier.is_ours():
                journal.append(_begin(self.earlier, texts[0]), now)
            journal.append_all(texts, now)
        except FencedError:
            return False
        except IntegrityError as error:
            logger.warning("%s; entries go elsewhere", error)
            return False
        return True

    def entries(self, on_damage: Damage | None = None, wanted: Wanted = every) -> Iterator[dict[str, Any]]:
        """Yield the entries that are wanted, oldest first: `log` and `number` name one, `log` is None in the old file.

        All that is read is authenticated by the signed checkpoints, and what is yielded by its own signature too. With
        `on_damage` that is told what is missing or altered, and what can be read all the same is yielded; else
        `IntegrityError` is raised.
        """

        def damaged(error: IntegrityError) -> None:
            if on_damage is None:
                raise error
            on_damage(str(error))

        if self.earlier is not None and self.earlier.is_ours():
            try:
                yield from (
                    e for e in ({"log": None, **entry} for entry in self.earlier.entries()) if wanted(e)
                )
            except IntegrityError as error:
                damaged(error)
        signer = self.signer()
        if signer is None:
            return
        journals = [self._read(signer, number, damaged, wanted) for number in self.numbers(signer)]
        yield from each_once(heapq.merge(*journals, key=order))

    def _read(
        self, signer: Signer, number: int, damaged: Callable[[IntegrityError], None], wanted: Wanted
    ) -> Iterator[dict[str, Any]]:
        read = self.opened(signer, number, damaged)
        if read is None:
            return
        try:
            for at, signed in read.entries():
                entry = {"log": number, "number": at, **parsed(read, at, signed[SIGNATURE:])}
                if wanted(entry):
                    check_entry(read.history, read.log.origin, at, signed)
                    yield entry
        except IntegrityError as error:
            damaged(error)

    def opened(
        self, signer: Signer, number: int, damaged: Callable[[IntegrityError], None]
    ) -> JournalRead | None:
        """Open a journal; one that does not continue what was signed as it is, if it is one at all."""
        try:
            return self.journal(signer, number)
        except IntegrityError as error:
            damaged(error)
        try:
            return self.journal(signer, number, remembered=False)
        except IntegrityError:
            return None

    def journal(self, signer: Signer, number: int, remembered: bool = True) -> JournalRead | None:
        """Read a journal, None if there is none; raises `IntegrityError` when it does not continue what was signed."""
        origin = origin_of(signer, number)
        noted = self.memory.signed(origin) if remembered else None
        return read_journal(self.store(signer, number), signer.history, origin, noted)

    def numbers(self, signer: Signer) -> list[int]:
        """Number the journals that there are, or that were signed once."""
        with self._explained("read"):
            found = {
                path.split("/")[1] for path in self.objects.list(folder_of(signer)) if path.count("/") > 1
            }
        origins = [Checkpoint.parse(Note.parse(note).text).origin for note in self.memory.all_signed()]
        found |= {o.removeprefix(f"{signer.name}/") for o in origins if o.startswith(f"{signer.name}/")}
        return sorted(int(number) for number in found if number.isdigit())

    def signer(self) -> Signer | None:
        """Return the keys of the log, None before the first entry.

        Raises `ConfigurationError` when they are gone although entries were signed with them.
        """
        known = load_signer_file(self.key_directory / KEY, _WHAT)
        if known is None and self.memory.all_signed():
            raise ConfigurationError(
                f"{_WHAT} {self.key_directory / KEY} is missing, and entries were signed with it: restore it from its "
                "backup"
            )
        return known

    @property
    def memory(self) -> Anchors:
        """What is kept with the keys of what was signed."""
        return Anchors(self.key_directory, signed_in=SIGNED)

    @cached_property
    def objects(self) -> Objects:
        """The place of the log, made if it is a directory that is not there."""
        if self.directory is not None:
            make_directories(self.directory, 0o700)
        return open_objects(self.place, dict(self.storage), "audit log")

    @property
    def directory(self) -> Path | None:
        """The directory of this machine it lies in, None where it lies in an object store."""
        return None if "://" in self.place else Path(self.place)

    def check(self) -> None:
        """See whether an entry could be written to what is there, without writing; raises as `append` does."""
        with self._explained("written"):
            signer = self.signer()
            if signer is None:
                return
            folders = [self.key_directory / SIGNED]
            for number in self.numbers(signer):
                if self.directory is not None:
                    folders.append(self.directory / folder_of(signer) / str(number))
            for folder in folders:
                if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def rotate(self, now: datetime) -> Signer | None:
        """Hand over to new keys, return their signer; None when there are none. The old private keys are gone then.

        1. Replace the key file: the old keys have signed for the new ones. A crash before leaves the old ones in
           force, one after it the new ones, which the next entry publishes.
        2. Publish the public part. A crash leaves it to the next entry.
        3. Sign every journal again, so that who takes the old keys cannot give one another end. A crash leaves some
           whose newest checkpoint the old keys have signed, which are of the chain; their next entry signs them again.
           So does one that somebody appends to just now.
        """
        # Step 1
        signer = rotate_signer_file(self.key_directory / KEY, _WHAT, now)
        if signer is None:
            return None
        fail_point("audit.rotated")
        self._journals.clear()
        with self._explained("written"):
            # Step 2
            self._publish_keys(signer)
            # Step 3
            for number in self.numbers(signer):
                with self._alone(number) as mine:
                    if mine:
                        origin = origin_of(signer, number)
                        journal = Journal(self.store(signer, number), signer, self.memory, origin)
                        try:
                            journal.sign_again(int(now.timestamp()))
                        except (FencedError, IntegrityError) as error:
                            logger.warning("%s; it is not signed by the new keys", error)
        return signer

    def _publish_keys(self, signer: Signer) -> None:
        keys.publish(self.key_store(signer), signer.history)
        keys.remember(self.memory, signer.history)

    def _made_signer(self, now: datetime) -> Signer:
        """Return the signer, read again when the key file is another: nobody tells a process of a hand-over."""
        path = self.key_directory / KEY
        at = (0, 0)
        with suppress(OSError):
            status = path.stat()
            at = (status.st_ino, status.st_mtime_ns)
        known = self._signers.get(at) if any(at) else None
        if known is None:
            known = self.signer()
            if known is None:
                self.ready()
                name = self.log_name.encode()[:90].decode(errors="ignore")
                known = make_signer_file(path, _WHAT, f"{name}/=audit", now)
            self._journals.clear()
            self._signers.clear()
            self._signers[at] = known
        return known

    def key_store(self, signer: Signer) -> LogStore:
        """Return the store of the notes that brought in the keys."""
        return LogStore(self.objects, folder_of(signer), "audit.keys")

    def store(self, signer: Signer, number: int) -> LogStore:
        """Return the store of a journal."""
        return LogStore(self.objects, f"{folder_of(signer)}/{number}", "audit")

    @contextmanager
    def _alone(self, number: int) -> Iterator[bool]:
        """Give whether nobody else on this machine has a journal; nobody else takes it meanwhile."""
        folder = self.key_directory / SIGNED
        make_directories(folder, 0o700)
        descriptor = open_lock(folder / f".writer-{number}")
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(descriptor)

    @contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        hint = "; without an entry there is no answer" if done == "written" else ""
        try:
            yield
        except (OSError, LetheError) as error:
            why = (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
            kind = TransientError if isinstance(error, TransientError) else ConfigurationError
            raise kind(f"the audit log {self.place} cannot be {done}: {why}{hint}") from None


def order(entry: Mapping[str, Any]) -> tuple[str, int, int]:
    """Return what entries are in order by: their time, then where they stand."""
    return entry["time"], entry["log"], entry["number"]


def each_once(entries: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield entries in the order of their times, and of those that say the same under one id the first."""
    time, there = "", dict[str, list[dict[str, Any]]]()
    for entry in entries:
        if entry["time"] != time:
            time, there = entry["time"], {}
        if "id" in entry:
            said = {name: value for name, value in entry.items() if name not in ("log", "number")}
            same = there.setdefault(str(entry["id"]), [])
            if said in same:
                continue
            same.append(said)
        yield entry


def folder_of(signer: Signer) -> str:
    """Return the folder of an installation: the id of its first signing key."""
    return signer.history.sets[0].ed25519.key_id.hex()


def origin_of(signer: Signer, number: int) -> str:
    """Return the name of a journal in its checkpoints."""
    return f"{signer.name}/{number}"


def parsed(read: JournalRead, number: int, text: bytes) -> dict[str, Any]:
    """Read the text of an entry; raises `IntegrityError` for one that is no JSON object."""
    try:
        entry = orjson.loads(text)
    except orjson.JSONDecodeError:
        entry = None
    if not isinstance(entry, dict) or not isinstance(entry.get("time"), str):
        raise IntegrityError(f"entry {number} of the log {read.log.origin} is none of an audit")
    return entry


def _begin(earlier: EarlierFile, first: bytes) -> bytes:
    """Make the entry that continues an earlier file, of the time of the first entry after it."""
    end = earlier.end()
    said = {
        "time": orjson.loads(first)["time"],
        "who": "lethe",
        "action": BEGIN,
        "lines": end.lines,
        "sha256": end.digest,
    }
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
