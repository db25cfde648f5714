"""Transform batches of raw values into rows for the tables. No I/O but keys and schemas; safe in a thread.

1. Values in a schema registry's framing become JSON.
2. A batch of several kinds is divided by kind; a record of an unknown kind is rejected.
3. Each part is decoded, split and sealed.
4. The parts are put together again in the order of the offsets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa

from lethe.keys.ring import KeyRing
from lethe.schemas.arrow import IDENTIFIERS, METADATA, QUARANTINE, USAGE
from lethe.schemas.declaration.format import Declaration, Format
from lethe.schemas.errors import ExpiredKeyError
from lethe.schemas.line import ANY_LINE
from lethe.schemas.transformed import DONE, ENTRIES, Counts, TransformedBatch
from lethe.streams.transform.batch import Batch, Load, Reject
from lethe.streams.transform.decode.decode import decode
from lethe.streams.transform.decode.record_kinds import by_kind
from lethe.streams.transform.decode.registry import Registry, unframed
from lethe.streams.transform.seal.seal import reject_all, seal
from lethe.streams.transform.split.rules import Rules
from lethe.streams.transform.split.split import Split, split
from lethe.streams.transform.split.yearless import with_years
from lethe.streams.transform.split_by_batch import transformed

_TABLES = {
    "metadata": METADATA,
    "identifiers": IDENTIFIERS,
    "entries": ENTRIES,
    "quarantine": QUARANTINE,
    "usage": USAGE,
    "done": DONE,
}


@dataclass(frozen=True, slots=True)
class Transform:
    """Decode, split and seal under fixed rules. Without a registry a framed value is rejected as no JSON."""

    ring: KeyRing
    rules: Rules
    max_bytes: int
    clock: Callable[[], datetime]
    registry: Registry | None = None

    def process(
        self, batch: Batch, fmt: Declaration, changed: frozenset[int] = frozenset()
    ) -> TransformedBatch:
        """Transform one batch: every record ends in the metadata (and the window, unless it is late) or in the
        quarantine.

        `changed`: rows whose values are not as they came, so that their originals are canonical.
        """
        if changed:
            return self._one(batch, fmt, changed)
        return self.process_all([batch], fmt)[0]

    def process_all(self, batches: Sequence[Batch], fmt: Declaration) -> list[TransformedBatch]:
        """Transform several batches of one format at the cost of one; return what each becomes, in the same order."""
        if isinstance(fmt, Format) and self.registry is None and self.rules.lines is None:
            return self._process(Load.of(batches), fmt, frozenset())
        return [self._one(batch, fmt, frozenset()) for batch in batches]

    def _one(self, batch: Batch, fmt: Declaration, changed: frozenset[int]) -> TransformedBatch:
        rejects: list[Reject] = []
        reframed: frozenset[int] = frozenset()
        if self.registry is not None:
            values, reframed = unframed(batch.values, self.registry, self.max_bytes, rejects)
            batch = replace(batch, values=values)
        reframed |= changed
        if isinstance(fmt, Format) and not rejects:
            return self._process(Load.of([batch]), fmt, reframed)[0]
        transformed = []
        for part in by_kind(batch, fmt, rejects, self.max_bytes):
            load = Load.of([part.batch])
            if part.rejects:
                transformed.append(
                    reject_all(load, part.fmt, part.rejects, self.ring, self.rules, self.clock())
                )
            else:
                mine = frozenset(at for at, row in enumerate(part.rows) if row in reframed)
                transformed += self._process(load, part.fmt, mine)
        return together(batch, transformed)

    def _process(self, load: Load, fmt: Format, reframed: frozenset[int]) -> list[TransformedBatch]:
        for last_try in (False, False, True):
            now = self.clock()
            # Neither the frame of the decoding nor that of the split is held while the other is worked on.
            parts, rejects = self._parts(load, fmt, now)
            try:
                return seal(load, fmt, parts, rejects, self.ring, self.rules, now, reframed)
            except ExpiredKeyError:
                # A month ended between the split and its keys: split again, it is late now.
                if last_try:
                    raise
        raise AssertionError("unreachable")

    def _parts(self, load: Load, fmt: Format, now: datetime) -> tuple[Split, list[Reject]]:
        decoded = with_years(decode(load.values, fmt, self.max_bytes), fmt, load, now)
        line = self.rules.lines(load.batches[0].source.stream) if self.rules.lines else ANY_LINE
        parts = split(decoded, fmt, self.rules, now, line)
        return parts, decoded.rejects + parts.rejects


def together(batch: Batch, parts: list[TransformedBatch]) -> TransformedBatch:
    """Put the parts of a divided batch together again, in the order of the offsets."""
    counts = Counts()
    for part in parts:
        counts.add(part.counts)
    order = [("offset", "ascending"), ("index", "ascending")]
    tables: dict[str, pa.Table] = {}
    for name, schema in _TABLES.items():
        tables[name] = pa.concat_tables([schema.empty_table(), *(getattr(p, name) for p in parts)]).sort_by(
            order
        )
    return transformed(batch, counts, **tables)
