"""Replay: rejected records that today's declarations accept leave the quarantine for both tiers, exactly once.

The position of a record, and with it its tokens, salt and nonces, is the one it was rejected at. Why it is done like
this, and what it costs, is in docs/adr/0006-quarantine-replay.md.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from lethe.schemas.arrow import WINDOW_TABLES
from lethe.schemas.errors import FencedError
from lethe.schemas.position import Position
from lethe.schemas.transformed import TransformedBatch
from lethe.tiers.commit import ledger_entries as ledger
from lethe.tiers.commit.pages import to_pages
from lethe.tiers.compaction.jobs import retired
from lethe.tiers.delta.log import DataFile
from lethe.tiers.delta.rewrite import delete_removed, files_of, read_file
from lethe.tiers.evidence.replay_log import keep_leaves
from lethe.tiers.ledger.covered import Covered
from lethe.tiers.maintenance import MaintenanceContext
from lethe.tiers.replay.lease import ReplayLease
from lethe.tiers.replay.recover import USED, recover_interrupted, take_back, take_out
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.window.lookup import position_of
from lethe.tiers.window.records import Part, open_parts, quarantined_value

_AT_ONCE: Final = 20_000
"""Rejected records opened and replayed together, in whole files of the quarantine."""
_TRIES: Final = 20
_TOMBSTONE: Final = "tombstone"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row of the quarantine and the value that was kept."""

    row: dict[str, Any] = field(repr=False)
    value: bytes = field(repr=False)

    @property
    def position(self) -> Position:
        """Where it was read."""
        return position_of(self.row)


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of rejected records of one commit's offsets.

    `prepared` holds those that pass (None: none does), its counts what they move; its quarantine the refused elements
    of messages of which others pass. `left`: the rows that leave the quarantine; `stays`: how many do not, by reason.
    """

    transformed: TransformedBatch | None
    left: Set[Position]
    stays: Counter[str]


@dataclass(slots=True)
class Replayed:
    """What a replay did, or would do. `records` landed of `left` rejected ones; `late` of them without identifiers."""

    tried: int = 0
    left: int = 0
    records: int = 0
    late: int = 0
    identifiers: int = 0
    stays: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    uncommitted: int = 0

    def add(self, tried: Tried) -> None:
        """Count what became of some records."""
        self.left += len(tried.left)
        self.stays.update(tried.stays)
        if (transformed := tried.transformed) is not None:
            self.records += transformed.counts.split + transformed.counts.late
            self.late += transformed.counts.late
            self.identifiers += transformed.counts.identifiers

    def again(self, more: Replayed) -> None:
        """Count another pass over what is left: what stays is said by the last one."""
        self.tried = self.left + more.tried
        self.stays, self.unreadable, self.uncommitted = more.stays, more.unreadable, more.uncommitted
        for name in ("left", "records", "late", "identifiers"):
            setattr(self, name, getattr(self, name) + getattr(more, name))


@dataclass(frozen=True)
class Wanted:
    """Which rejected records are meant; None: all."""

    reason: str | None = None
    format: str | None = None


Try = Callable[[Sequence[Rejected]], Tried]
"""Run rejected records of one topic-partition and one commit's offsets through today's declarations."""
OnStep = Callable[[int, int], None]


def preview(maintenance: MaintenanceContext, wanted: Wanted, attempt: Try, on_step: OnStep) -> Replayed:
    """Say what a replay would do. Nothing is changed."""
    done, covered = Replayed(), Covered.by(maintenance.warehouse)
    for part, files in _chunks(maintenance, done, wanted, on_step):
        for some in _opened(maintenance, part, files, wanted, covered, done):
            done.add(attempt(some))
    return done


def replay(maintenance: MaintenanceContext, wanted: Wanted, attempt: Try, on_step: OnStep) -> Replayed:
    """Land the rejected records that pass now, each once and at its position; the others stay as they are.

    A crash at any step is healed by the next replay, whatever it is asked for.

    1. Take the lease and note it: earlier replays can commit nothing any more (`lethe.tiers.replay.lease`).
    2. Recover what interrupted ones left. A crash leaves the rest of it, and the notes.

    Then for some files of the quarantine at a time:

    3. Open the values and run them through the kernel. Nothing is written.
    4. Commit identifiers and originals, and to the quarantine the refused elements of messages that pass in part.
       A crash leaves rows that no archive row leads to; step 2 takes them out again.
    5. Look whether the files read in step 3 are still there. If an erasure changed them, take step 4 back, and look
       at the quarantine again in the end: what was erased must not come back. An erasure that comes after this step
       finds what step 4 has committed.
    6. Keep the leaf files, then commit the metadata, which says what moved. This is the one that counts: a crash after
       it leaves records in the archive and in the quarantine, which step 2 takes out of the quarantine.
    7. Preserve what holds cover, then take what moved out of the quarantine.
    8. Compare what landed with what its formats were before. A crash here, or a fault, leaves it uncompared.

    At the end:

    9. Delete the files that were taken out. A crash leaves them to the next replay, erasure or sweep.
    10. Derive the ledger. (The log is published by who called.)
    11. Remove the note.
    """
    maintenance.holds.active()  # one that does not open keeps all in the quarantine: better known before it is landed
    maintenance.warehouse.add_missing_columns()
    # Step 1
    lease = ReplayLease.take(maintenance.warehouse, maintenance.clock().isoformat(timespec="seconds"))
    # Step 2
    if lease.interrupted:
        recover_interrupted(maintenance, lease)
        fail_point("replay.recovered")
        lease.recovered()
    done, covered = Replayed(), Covered.by(maintenance.warehouse)
    for _ in range(_TRIES):
        this, whole = Replayed(), True
        for part, files in _chunks(maintenance, this, wanted, on_step):
            whole &= _move(maintenance, lease, part, files, wanted, attempt, covered, this)
        done.again(this)
        if whole:
            break
    else:
        raise FencedError("the quarantine changes all the time; try again when less is written")
    # Step 9
    for table in WINDOW_TABLES:
        objects = maintenance.warehouse.objects
        delete_removed(objects, maintenance.warehouse.window[table], retired(objects, table))
    fail_point("replay.deleted")
    # Step 10
    maintenance.warehouse.publish()
    # Step 11
    lease.end()
    fail_point("replay.ended")
    return done


def _move(
    maintenance: MaintenanceContext,
    lease: ReplayLease,
    part: Part,
    files: Sequence[DataFile],
    wanted: Wanted,
    attempt: Try,
    covered: Covered,
    done: Replayed,
) -> bool:
    """Take steps 3 to 8 for some files of a partition of the quarantine; False when they have to be done again."""
    # Step 3
    tried = [attempt(some) for some in _opened(maintenance, part, files, wanted, covered, done)]
    moved = [one.transformed for one in tried if one.transformed is not None]
    if moved:
        # Step 4
        _commit_window(maintenance, lease, moved)
        # Step 5
        quarantine = maintenance.warehouse.window["quarantine"]
        quarantine.reload()
        read = {f.path for f in files}
        if not read <= {f.path for f in files_of(quarantine, part.partition)}:
            take_back(maintenance, lease, moved)
            return False
        # Step 6
        _commit_metadata(maintenance, lease, moved)
        # Step 7
        take_out(maintenance, lease, part, {p for one in tried for p in one.left}, read)
        # Step 8
        maintenance.warehouse.quality.check(moved, maintenance.clock(), replayed=True)
    for one in tried:
        done.add(one)
    return True


def _commit_window(
    maintenance: MaintenanceContext, lease: ReplayLease, moved: Sequence[TransformedBatch]
) -> None:
    now_ms = int(maintenance.clock().timestamp() * 1000)
    rows = {
        "identifiers": pa.concat_tables([p.identifiers for p in moved]),
        "originals": to_pages(pa.concat_tables([p.entries for p in moved]), maintenance.ring),
        "quarantine": pa.concat_tables([p.quarantine for p in moved]),
    }
    for table, mine in rows.items():
        if mine.num_rows:
            _until_through(maintenance, lease, table, lease.write(table, mine, now_ms))
    if (used := pa.concat_tables([p.usage for p in moved])).num_rows:
        files = lease.write("usage", used, now_ms)
        number = (maintenance.warehouse.window["usage"].transaction(USED) or 0) + 1
        _until_through(maintenance, lease, "usage", files, more={USED: number})


def _commit_metadata(
    maintenance: MaintenanceContext, lease: ReplayLease, moved: Sequence[TransformedBatch]
) -> None:
    now = maintenance.clock()
    moved = [ledger.stamped(p, now) for p in moved]
    rows = pa.concat_tables([p.metadata for p in moved])
    hashes = [ledger.hashed([p], whole=True) for p in moved]
    key = maintenance.warehouse.ledger_key
    said = [entry for p, h in zip(moved, hashes, strict=True) for entry in ledger.entries([p], h, now, key)]
    moving = [one for h in hashes for one in h.values()]
    keep_leaves(maintenance.warehouse, moving)
    maintenance.warehouse.keep_declarations(moving)
    files = lease.write("metadata", rows, int(now.timestamp() * 1000))
    used = (
        maintenance.warehouse.window["usage"].transaction(USED)
        if any(p.usage.num_rows for p in moved)
        else None
    )
    _until_through(
        maintenance,
        lease,
        "metadata",
        files,
        {ledger.COMMIT_INFO: json.dumps(said)},
        {} if used is None else {USED: used},
    )


def _until_through(
    maintenance: MaintenanceContext,
    lease: ReplayLease,
    table: str,
    files: Sequence[DataFile],
    said: dict[str, str] | None = None,
    more: dict[str, int] | None = None,
) -> None:
    for _ in range(_TRIES):
        maintenance.warehouse.handle(table).reload()
        if lease.commit(table, files, said=said, more=more):
            return
    raise FencedError(f"{table}: other writers commit all the time; try again when less is written")


def _chunks(
    maintenance: MaintenanceContext, done: Replayed, wanted: Wanted, on_step: OnStep
) -> Iterator[tuple[Part, list[DataFile]]]:
    """Yield the files of the quarantine, some at a time; what lies in months that do not open any more is counted."""
    handle = maintenance.warehouse.window["quarantine"]
    handle.reload()
    parts = {
        tuple(part.partition.items()): part for part in open_parts(maintenance.ring, maintenance.clock())
    }
    every = files_of(handle)
    total, seen = sum(f.rows for f in every), 0
    chunk: list[DataFile] = []
    for at, file in enumerate(every):
        part = parts.get(tuple(file.partition.items()))
        last = at + 1 == len(every) or every[at + 1].partition != file.partition
        if part is None:
            rows = read_file(maintenance.warehouse.objects, "quarantine", file)
            done.unreadable += 0 if rows is None else _wanted(rows, wanted).num_rows
            seen += file.rows
        else:
            chunk.append(file)
            if last or sum(f.rows for f in chunk) >= _AT_ONCE:
                yield part, chunk
                seen += sum(f.rows for f in chunk)
                chunk = []
        on_step(seen, total)


def _opened(
    maintenance: MaintenanceContext,
    part: Part,
    files: Sequence[DataFile],
    wanted: Wanted,
    covered: Covered,
    done: Replayed,
) -> list[list[Rejected]]:
    """Return the rejected records of some files, opened, by topic-partition and commit."""
    found: dict[tuple[str, int, int], list[Rejected]] = {}
    for file in files:
        rows = read_file(maintenance.warehouse.objects, "quarantine", file)
        if rows is None:
            continue  # step 5 sees that it is gone
        for row in _wanted(rows, wanted).to_pylist():
            position = position_of(row)
            commit = covered.commit(position)
            if commit is None:
                done.uncommitted += 1  # half of a commit that has not happened (yet): not ours to move
                continue
            value = quarantined_value(row, part.keys)
            if value is None:
                done.unreadable += 1
                continue
            done.tried += 1
            found.setdefault((position.stream, position.partition, commit), []).append(Rejected(row, value))
    return [sorted(found[key], key=_order) for key in sorted(found)]


def _wanted(rows: pa.Table, wanted: Wanted) -> pa.Table:
    mask = pc.not_equal(rows.column("reason"), _TOMBSTONE)
    for column, value in (("reason", wanted.reason), ("format", wanted.format)):
        if value is not None:
            mask = pc.and_(mask, pc.equal(rows.column(column), value))
    return rows.filter(mask)


def _order(one: Rejected) -> tuple[int, int]:
    index = one.position.index
    return one.position.offset, -1 if index is None else index
