"""How the logs stand, without verifying them: is each up to date, is it stamped, does anything keep it from growing?"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson
import pyarrow.compute as pc

from lethe.integrity.log.entries import Log
from lethe.integrity.log.note import ML_DSA_44, Note
from lethe.integrity.log.signing import KeyHistory
from lethe.integrity.log.stamp import Stamped, stamps
from lethe.integrity.log.store import REPLAYS, log_origin, open_checkpoint
from lethe.schemas.errors import IntegrityError
from lethe.tiers.commit.ledger_entries import REPLAYED
from lethe.tiers.evidence.log_store import LogStore, read_log
from lethe.tiers.evidence.publication import TROUBLE
from lethe.tiers.ledger.commits import TopicPartition, replays
from lethe.tiers.ledger.reading import read_ledger
from lethe.tiers.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class LogState:
    """One log. `behind`: the ledger has later commits; `unstamped`: its newest stamp is too old.

    `read`: its end was read just now; otherwise it is as this machine signed or saw it, and the ledger has no more.
    """

    name: str
    entries: int
    behind: bool
    unstamped: bool
    trouble: str | None
    read: bool = True


@dataclass(frozen=True, slots=True)
class _Expected:
    """Where the ledger says that a log ends: its last offset (of replays the version), and how many entries it has."""

    last: int
    entries: int


def log_states(
    warehouse: Warehouse,
    history: KeyHistory,
    now: datetime,
    late: timedelta | None,
    at_most: int | None = None,
) -> Iterator[LogState]:
    """Yield the state of every log the ledger knows. `late`: how old a missing stamp may get; None: none is
    expected.

    `at_most` so many logs, chosen by chance, are read of those whose last signed checkpoint is kept with the keys and
    has all that the ledger has; None: all. Every other log is read, and all where stamps are expected: only the log has
    them.
    """
    warehouse.publish()
    expected = _expected(warehouse)
    kept = set() if at_most is None or late is not None else _kept(warehouse, history, expected)
    read = random.SystemRandom().sample(sorted(kept), min(at_most or 0, len(kept)))
    for topic_partition, there in sorted(expected.items()):
        if topic_partition in kept and topic_partition not in read:
            yield LogState(_name(topic_partition), there.entries, False, False, None, read=False)
        else:
            yield _state(warehouse, history, topic_partition, there, None if late is None else now - late)


def _expected(warehouse: Warehouse) -> dict[TopicPartition, _Expected]:
    rows, _ = read_ledger(warehouse, pc.field("source") != REPLAYED)
    rows = rows.append_column(
        "entries", pc.is_null(rows["gap"]).cast("int64")
    )  # an accepted gap is no commit
    ends = rows.group_by(["stream", "partition"]).aggregate([("last_offset", "max"), ("entries", "sum")])
    expected = {
        (e["stream"], e["partition"]): _Expected(e["last_offset_max"], e["entries_sum"])
        for e in ends.to_pylist()
    }
    if moved := [account.version for account in replays(warehouse)]:
        expected[REPLAYS] = _Expected(moved[-1], len(moved))
    return expected


def _kept(
    warehouse: Warehouse, history: KeyHistory, expected: Mapping[TopicPartition, _Expected]
) -> set[TopicPartition]:
    """Return the logs of which a signed checkpoint is kept with the keys that has as many entries as the ledger."""
    kept = set()
    for topic_partition, there in expected.items() if warehouse.anchors else ():
        origin = log_origin(history.name, *topic_partition)
        signed = warehouse.anchors.signed(origin) if warehouse.anchors else None
        with suppress(IntegrityError):
            if signed is not None and open_checkpoint(signed, history, origin)[1].size == there.entries:
                kept.add(topic_partition)
    return kept


def _state(
    warehouse: Warehouse,
    history: KeyHistory,
    topic_partition: TopicPartition,
    there: _Expected,
    stamped_since: datetime | None,
) -> LogState:
    store, name = LogStore.of(warehouse.objects, *topic_partition), _name(topic_partition)
    try:
        log = read_log(store, history, topic_partition)
        if log is None:
            return LogState(name, 0, True, False, _trouble(store))
        newest = log.entry(log.size - 1) if log.size else None
        end = -1 if newest is None else newest.version if topic_partition == REPLAYS else newest.last_offset
        unstamped = stamped_since is not None and _unstamped(store, log, history, stamped_since)
        # What kept it from being published once is of no matter where nothing waits: a request less for each log.
        behind = end < there.last
        return LogState(name, log.size, behind, unstamped, _trouble(store) if behind else None)
    except IntegrityError as error:
        return LogState(name, 0, False, False, _trouble(store) or str(error))


def _name(topic_partition: TopicPartition) -> str:
    return f"{topic_partition[0]}/{topic_partition[1]}"


def _trouble(store: LogStore) -> str | None:
    noted = store.get(TROUBLE)
    if noted is None:
        return None
    try:
        said = orjson.loads(noted)
        return f"{said['error']} (since {said['since']})"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "something keeps it from being published, and what is noted of it cannot be read"


def _unstamped(store: LogStore, log: Log, history: KeyHistory, before: datetime) -> bool:
    """Tell whether the log has grown since its last stamp, and that is too long ago."""
    made = list(stamps(store))
    newest = made[-1] if made else None
    if newest is not None and newest.path == Stamped.folder(log.size):
        return False
    signed = signed_at(Note.parse(newest.note) if newest is not None else log.note, history)
    return signed is not None and signed < before


def signed_at(note: Note, history: KeyHistory) -> datetime | None:
    """Read when a checkpoint was signed, as its ML-DSA-44 cosignature says; None when it has none."""
    for key in (keys.ml_dsa_44 for keys in history.sets):
        for signature in note.signatures:
            if key.kind == ML_DSA_44 and key.signed(signature):
                return datetime.fromtimestamp(int.from_bytes(signature.value[:8], "big"), UTC)
    return None
