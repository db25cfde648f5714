"""Replay, seen from the declarations: which one is today's for a rejected record, and what the kernel makes of it."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np
import orjson
import pyarrow as pa

from lethe.keys.providers.local import LocalProvider
from lethe.keys.ring import KeyRing
from lethe.operations.proof.publisher import publish_now
from lethe.operations.retention.sweep import maintenance_context
from lethe.operations.runtime import Runtime
from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Declaration, Format
from lethe.schemas.errors import ConfigurationError
from lethe.schemas.transformed import Counts, TransformedBatch
from lethe.streams.transform.batch import Batch, Reason, Source
from lethe.streams.transform.decode.reshape import inner
from lethe.streams.transform.seal.originals import STRIPPED
from lethe.streams.transform.transform import Transform, together
from lethe.tiers.commit.ledger_entries import REPLAYED
from lethe.tiers.replay import replay as tables
from lethe.tiers.replay.replay import OnStep, Rejected, Replayed, Tried, Wanted
from lethe.tiers.store.objects import open_objects

__all__ = ["NO_DECLARATION", "NO_ENVELOPE", "Attempt", "Replayed", "Wanted", "replay"]

NO_DECLARATION: Final = "no_declaration"
"""Why a record stays that no declaration of today is for."""
NO_ENVELOPE: Final = "no_envelope"
"""Why an element stays whose declaration has no envelope any more: it would land at another position."""

At = tuple[int, int | None]


def replay(
    runtime: Runtime, wanted: Wanted, dry_run: bool = False, on_step: OnStep = lambda _done, _all: None
) -> tuple[Replayed, str | None]:
    """Replay what is wanted of the quarantine; returns what was done, and what kept the log from being published.

    With `dry_run` nothing is changed. Raises `LetheError` when it cannot be done to its end: run it again then.
    """
    maintenance = maintenance_context(runtime)
    if dry_run:
        with _keys_of_its_own(runtime) as ring:
            attempt = Attempt(replace(runtime.transform, ring=ring), runtime.settings.sources)
            return tables.preview(maintenance, wanted, attempt, on_step), None
    done = tables.replay(maintenance, wanted, Attempt(runtime.transform, runtime.settings.sources), on_step)
    maintenance.warehouse.quality.save()
    failures = publish_now(runtime, ()).failures
    return done, next((f"the log {s}/{p} cannot be published: {e}" for (s, p), e in failures.items()), None)


@contextmanager
def _keys_of_its_own(runtime: Runtime) -> Iterator[KeyRing]:
    """Yield a ring that is gone afterwards: what is only tried must not make the keys of a month."""
    with tempfile.TemporaryDirectory(prefix="lethe-") as folder:
        provider = LocalProvider.initialise(Path(folder, "keys"))
        yield KeyRing(provider, open_objects(str(Path(folder, "ring")), {}), runtime.clock)


@dataclass
class _Run:
    """What the kernel made of some records, and why those were rejected that were."""

    transformed: list[TransformedBatch] = field(default_factory=list)
    reasons: dict[At, str] = field(default_factory=dict)
    landed: set[At] = field(default_factory=set)

    def add(self, done: TransformedBatch, tried: Sequence[Rejected]) -> None:
        """Note what became of one batch, and of the records it was made of."""
        self.transformed.append(done)
        for row in done.quarantine.select(["offset", "index", "reason"]).to_pylist():
            self.reasons[row["offset"], row["index"]] = row["reason"]
        for table in (done.metadata, done.usage):
            for row in table.select(["offset", "index"]).to_pylist():
                self.landed.add((row["offset"], row["index"]))
        # A whole message passes when any element of it does.
        wholes = {one.position.offset for one in tried if one.position.index is None}
        self.landed |= {(offset, None) for offset, _ in self.landed if offset in wholes}

    def passes(self, one: Rejected) -> bool:
        """Tell whether a record lands."""
        return (one.position.offset, one.position.index) in self.landed


@dataclass(frozen=True)
class Attempt:
    """Runs rejected records of one commit through the kernel: decode, split and seal, as if they came now."""

    transform: Transform
    sources: dict[str, str]

    def __call__(self, records: Sequence[Rejected]) -> Tried:
        """Say what passes and what does not, each record judged by the declaration that is its own today."""
        # Never a message and elements of it: which of the two a landed element was of could not be told.
        apart = {one.position.offset for one in records if one.position.index is not None}
        run = self._run(
            [r for r in records if r.position.index is not None or r.position.offset not in apart]
        )
        passing = [one for one in records if run.passes(one)]
        stays = Counter(_why(run, one) for one in records if not run.passes(one))
        if passing and len(passing) < len(records):
            # Again, without those that stay: what is counted is then what moves, and nothing else.
            run = self._run(passing)
            passing = [one for one in passing if run.passes(one)]
        if not passing:
            return Tried(None, frozenset(), stays)
        position = passing[0].position
        source = Source(position.stream, position.partition, REPLAYED, "")
        whole = together(
            _batch(source, [(position.offset, None), (passing[-1].position.offset, None)]), run.transformed
        )
        received = passing[len(passing) // 2].row["received_time"]
        moved = replace(whole, counts=_moves(whole, passing), received_ms=_milliseconds(received))
        return Tried(moved, frozenset(one.position for one in passing), stays)

    def _run(self, records: Sequence[Rejected]) -> _Run:
        """Transform one batch for each declaration, and one for what is kept as it came."""
        run = _Run()
        groups: dict[tuple[str, str], tuple[Declaration, list[Rejected]]] = {}
        for one in records:
            declared = self._declared(one)
            if isinstance(declared, str):
                run.reasons[one.position.offset, one.position.index] = declared
            else:
                groups.setdefault((declared.name, one.row["form"]), (declared, []))[1].append(one)
        for (_, form), (declared, mine) in groups.items():
            source = Source(mine[0].position.stream, mine[0].position.partition, REPLAYED, declared.name)
            batch = _batch(source, list(_messages(mine, declared)), mine)
            # A value in a registry's framing was kept as the JSON it became, so with one none is taken for received.
            changed = form == STRIPPED or self.transform.registry is not None
            rows = frozenset(range(len(batch.values))) if changed else frozenset()
            run.add(_asked_for(self.transform.process(batch, declared, rows), mine), mine)
        return run

    def _declared(self, one: Rejected) -> Declaration | str:
        """Find the declaration for a record: the one it was rejected by, or its stream's; else why there is none."""
        streams = self.sources.get(one.position.stream.partition("~")[0])
        named = [one.row["format"], streams]
        if one.row["reason"] == Reason.UNKNOWN_KIND:  # by a mix of kinds, which its topic may not be any more
            named.reverse()
        for name in filter(None, named):
            try:
                declared = formats.get(name)
            except ConfigurationError:
                continue
            several = isinstance(declared, Format) and bool(declared.envelope or declared.each)
            if one.position.index is not None and not several:
                return NO_ENVELOPE
            if one.row["form"] == STRIPPED and isinstance(declared, Format):
                return inner(declared)  # what is left of a value in another shape is kept as JSON
            return declared
        return NO_DECLARATION


def _messages(records: Sequence[Rejected], declared: Declaration) -> Iterator[tuple[int, bytes]]:
    """Return offset and value of the messages to try. Elements are put where they were in their envelope."""
    for offset, group in groupby(records, key=lambda one: one.position.offset):
        elements: dict[int, bytes] = {}
        for one in group:
            if one.position.index is None:
                yield offset, one.value
            else:
                elements[one.position.index] = one.value
        if elements and isinstance(declared, Format):
            listed = b"[" + b",".join(elements.get(n, b"null") for n in range(max(elements) + 1)) + b"]"
            name = None if declared.each else orjson.dumps(declared.envelope)
            yield offset, listed if name is None else b"{" + name + b":" + listed + b"}"


def _batch(
    source: Source, messages: Sequence[tuple[int, bytes | None]], records: Sequence[Rejected] = ()
) -> Batch:
    received = {one.position.offset: one.row["received_time"] for one in records}
    times = [received.get(offset) for offset, _ in messages]
    return Batch(
        source=source,
        sequence=0,
        generation=0,
        first=messages[0][0],
        last=messages[-1][0],
        offsets=np.array([offset for offset, _ in messages], np.int64),
        values=[value for _, value in messages],
        received_ms=np.array([_milliseconds(time) for time in times], np.int64),
    )


def _milliseconds(received: datetime | None) -> int:
    """Return when a record was received, since 1970; -1 where nobody knows."""
    return -1 if received is None else round(received.timestamp() * 1000)


def _asked_for(done: TransformedBatch, records: Sequence[Rejected]) -> TransformedBatch:
    """Leave out the rejects of what only fills the place of an element that is not asked for."""
    asked = {(one.position.offset, one.position.index) for one in records}
    rows = done.quarantine.select(["offset", "index"]).to_pylist()
    keep = [(r["offset"], r["index"]) in asked or (r["offset"], None) in asked for r in rows]
    return replace(done, quarantine=done.quarantine.filter(pa.array(keep, pa.bool_())))


def _why(run: _Run, one: Rejected) -> str:
    """Say why a record stays: today's reason; of an envelope, the first element's."""
    at = one.position.offset, one.position.index
    if at in run.reasons:
        return run.reasons[at]
    elements = ((index or 0, why) for (offset, index), why in run.reasons.items() if offset == at[0])
    return min(elements, default=(0, str(one.row["reason"])))[1]


def _moves(transformed: TransformedBatch, passing: Sequence[Rejected]) -> Counts:
    """Return the counts of a transfer: nothing comes in, and what was rejected is split (or late) now.

    A message that turns out to be an envelope is several records, of which some may be rejected themselves.
    """
    reasons = Counter(transformed.quarantine.column("reason").to_pylist())
    reasons.subtract(one.row["reason"] for one in passing)
    counts = transformed.counts
    rejected = transformed.quarantine.num_rows - len(passing)
    return replace(
        counts,
        messages=0,
        records=counts.split + counts.late + rejected,
        rejected=rejected,
        tombstones=0,
        reasons=Counter({reason: count for reason, count in reasons.items() if count}),
    )
