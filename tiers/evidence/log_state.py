"""How the logs stand, without verifying them: is each up to date, is it stamped, does anything keep it from growing?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson
import pyarrow.compute as pc

from lethe.integrity.log.entries import Log
from lethe.integrity.log.note import ML_DSA_44, Note
from lethe.integrity.log.signing import KeyHistory
from lethe.integrity.log.stamp import Stamped, stamps
from lethe.integrity.log.store import REPLAYS, log_origin
from lethe.schemas.errors import IntegrityError
from lethe.tiers.commit.ledger_entries import REPLAYED
from lethe.tiers.evidence.log_store import LogStore
from lethe.tiers.evidence.publication import TROUBLE
from lethe.tiers.ledger.commits import TopicPartition, replays
from lethe.tiers.ledger.reading import read_ledger
from lethe.tiers.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class LogState:
    """One log. `behind`: the ledger has later commits; `unstamped`: its newest stamp is too old."""

    name: str
    entries: int
    behind: bool
    unstamped: bool
    trouble: str | None


def log_states(
    warehouse: Warehouse, history: KeyHistory, now: datetime, late: timedelta | None
) -> Iterator[LogState]:
    """Yield the state of every log the ledger knows. `late`: how old a missing stamp may get; None: none is
    expected.
    """
    warehouse.publish()
    taken_in = pc.field("source") != REPLAYED
    rows, _ = read_ledger(warehouse, taken_in)
    ends = rows.group_by(["stream", "partition"]).aggregate([("last_offset", "max")])
    last: dict[TopicPartition, int] = {
        (e["stream"], e["partition"]): e["last_offset_max"] for e in ends.to_pylist()
    }
    moved = [account.version for account in replays(warehouse)]
    if moved:
        last[REPLAYS] = moved[-1]
    for topic_partition in sorted(last):
        store, name = (
            LogStore.of(warehouse.objects, *topic_partition),
            f"{topic_partition[0]}/{topic_partition[1]}",
        )
        try:
            if (signed := store.get("checkpoint")) is None:
                yield LogState(name, 0, True, False, _trouble(store))
                continue
            log = Log(store, history, log_origin(history.name, *topic_partition), signed)
            newest = log.entry(log.size - 1) if log.size else None
            end = (
                -1 if newest is None else newest.version if topic_partition == REPLAYS else newest.last_offset
            )
            unstamped = late is not None and _unstamped(store, log, history, now - late)
            # What kept it from being published once is of no matter where nothing waits: a request less for each log.
            behind = end < last[topic_partition]
            yield LogState(name, log.size, behind, unstamped, _trouble(store) if behind else None)
        except IntegrityError as error:
            yield LogState(name, 0, False, False, _trouble(store) or str(error))


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
