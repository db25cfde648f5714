"""Verify the audit log: every entry, every file of it, what was signed last, what the warehouse knows of it.

Verification signs nothing and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lethe.integrity.journal import AT_ONCE, JournalRead, check_continues, check_entry
from lethe.integrity.log.store import CHECKPOINT
from lethe.integrity.log.tiles import ENTRIES, WIDTH, decode_bundle, parse_tile_path, split_hashes, tile_width
from lethe.operations.audit import keys
from lethe.operations.audit.earlier import End
from lethe.operations.audit.log import BEGIN, origin_of, parsed
from lethe.operations.proof import audit_anchor
from lethe.operations.proof.publisher import stamp_roots
from lethe.operations.proof.signing import history_of
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import IntegrityError, LetheError
from lethe.tiers.evidence.log_store import LogStore


@dataclass(slots=True)
class Verified:
    """What was looked at, and what is not as it was signed; an empty list of findings is the good answer."""

    logs: int = 0
    entries: int = 0
    earlier_entries: int = 0
    anchors: int = 0
    """Journals of which the warehouse has an anchor."""
    time_stamps: int = 0
    unanswered: int = 0
    """Entries that a crash left without a checkpoint: nobody has seen an answer to them."""
    findings: list[str] = field(default_factory=list)


def verify(runtime: Runtime) -> Verified:
    """Verify the whole audit. Raises `ConfigurationError` when its keys are gone or its place cannot be read."""
    done = Verified()
    reads = _ends(runtime, done, stamps=True)
    signer = runtime.audit.signer()
    for number, read in reads.items():
        try:
            for at, text in read.texts():
                parsed(read, at, text)
                done.entries += 1
        except IntegrityError as error:
            done.findings.append(str(error))
            continue
        if signer is not None:
            for finding in _files(runtime.audit.store(signer, number), read, done):
                done.findings.append(f"{finding} (of the log {read.log.origin})")
    done.findings += _earlier(runtime, reads, done)
    return done


def verify_ends(runtime: Runtime) -> Verified:
    """Verify that every journal of the audit is there and continues what was signed; costs the same however long."""
    done = Verified()
    done.entries = sum(read.log.size for read in _ends(runtime, done).values())
    return done


def _ends(runtime: Runtime, done: Verified, stamps: bool = False) -> dict[int, JournalRead]:
    """Open every journal and compare it with what was signed last and with its anchor; with `stamps`, those too."""
    audit = runtime.audit
    signer = audit.signer()
    anchors = _anchors(runtime, done, stamps)
    if signer is None:
        runtime.has_key_directory()  # an empty mount point has no entries, and says nothing of those there are
        if anchors:
            done.findings.append("the warehouse has anchors of an audit, and there is none")
        return {}
    done.findings += keys.findings(audit.memory, signer.history, audit.key_store(signer))
    chain = anchors.pop(keys.newest(signer.history).origin, None)
    if chain is not None:
        done.findings += audit_anchor.check_keys(runtime, signer.history, chain)
    reads: dict[int, JournalRead] = {}
    numbers = audit.numbers(signer)
    for number in numbers:
        read = audit.opened(signer, number, lambda error: done.findings.append(str(error)))
        if read is None:
            continue
        done.logs += 1
        reads[number] = read
        known = anchors.get(read.log.origin)
        if known is not None:
            try:
                check_continues(read.log, known)
            except IntegrityError as error:
                done.findings.append(f"{error} (by the anchor in the warehouse)")
    there = {origin_of(signer, number) for number in numbers}
    done.findings += [
        f"the log {origin} is gone: the warehouse has an anchor of it"
        for origin in anchors
        if origin not in there
    ]
    done.anchors = len(anchors)
    return reads


def _anchors(runtime: Runtime, done: Verified, stamps: bool) -> dict[str, Any]:
    try:
        history = history_of(runtime)
    except LetheError:
        return {}  # no integrity log yet, so no anchors
    try:
        read = audit_anchor.read_anchors(runtime, history)
        if read is not None and stamps:
            roots = stamp_roots(runtime.settings.integrity)
            done.time_stamps = audit_anchor.check_stamps(runtime, read, roots)
        return {} if read is None else audit_anchor.newest(read)
    except IntegrityError as error:
        done.findings.append(f"the anchors in the warehouse: {error}")
        return {}


def _files(store: LogStore, read: JournalRead, done: Verified) -> Iterator[str]:
    """Say which files of a journal are not what its checkpoint leads to, or are none of a journal."""
    for path in store.list(""):
        if path == CHECKPOINT:
            continue
        try:
            level, number, width = parse_tile_path(path)
        except ValueError:
            yield f"{path} is no file of a log"
            continue
        data = store.get(path)
        if data is None:
            continue  # replaced meanwhile
        try:
            if level == ENTRIES:
                _check_bundle(read, number, width, data, done)
            else:
                _check_tile(read, int(level), number, width, data)
        except IntegrityError as error:
            yield f"{path}: {error}"


def _check_bundle(read: JournalRead, number: int, width: int, data: bytes, done: Verified) -> None:
    entries = decode_bundle(data)
    if (
        len(entries) < width
    ):  # more than that: several were put at once, and a crash came before they were moved
        raise IntegrityError("it is cut short")
    for at, entry in enumerate(entries, number * WIDTH):
        if entry != read.entry(at):
            # One that a crash kept from being published, here or where others have published another since.
            check_entry(read.history, read.log.origin, at, entry)
            done.unanswered += 1


def _check_tile(read: JournalRead, level: int, number: int, width: int, data: bytes) -> None:
    hashes = split_hashes(data)
    known = tile_width(level, number, read.log.size)
    same = min(known, width)
    ours = read.log.tiles.tile(level, number)[:same] if known else []
    if len(data) % 32 or len(hashes) != width or hashes[:same] != ours:
        raise IntegrityError("it is altered")
    if width > known + (AT_ONCE if level == 0 else 1):
        raise IntegrityError("it is of more entries than were ever signed")


def _earlier(runtime: Runtime, reads: dict[int, JournalRead], done: Verified) -> Iterator[str]:
    """Verify the audit file of an earlier release, and that the log begins where it ended."""
    file = runtime.audit.earlier
    there = file is not None and file.is_ours()
    try:
        begins = _begin(reads.get(0))
    except IntegrityError:
        return  # what keeps the first entry from being read is found already
    if file is None or (begins is None and not there):
        return
    if not there:
        yield f"{file.path}, which the log continues, is gone or its first entry was changed"
        return
    try:
        done.earlier_entries = sum(1 for _ in file.entries())
    except IntegrityError as error:
        yield str(error)
    if begins is None:
        if 0 in reads:
            yield f"{file.path} was put there later: the log does not continue it"
    elif file.end() != begins:
        yield (
            f"{file.path} does not end as it did when the log took over from it: it was cut, changed, or a process "
            "of an earlier release still writes to it"
        )


def _begin(first: JournalRead | None) -> End | None:
    if first is None:
        return None
    entry = first.entry(0)
    if entry is None:
        return None
    said = parsed(first, 0, check_entry(first.history, first.log.origin, 0, entry))
    return End(said["lines"], said["sha256"]) if said.get("action") == BEGIN else None
