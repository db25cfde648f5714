"""Seal: tokens, sealed values and integrity hashes, computed by the column, one calendar month after the other."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import zstandard

from integrity.hashes import integrity_hashes
from keys.monthkeys import MonthKeys
from keys.ring import KeyRing
from keys.sealing import seal_column
from keys.tokens import message_tokens, needs_sealing, subject_tokens
from schemas.arrow import IDENTIFIERS, METADATA, QUARANTINE
from schemas.errors import ExpiredKeyError
from schemas.format import Format
from schemas.retention import Month
from streams.batch import Batch, Reason, Reject
from streams.fields import as_json
from streams.originals import FIELDS, CanonicalError, original, quarantined
from streams.split import ID, INDEX, ROW, Split
from streams.work import Rules
from tiers.lookup import subject_place
from tiers.prepared import ENTRIES, Counts, Prepared

_UUID: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$"
_COMPRESSION: Final = 3


def seal(
    batch: Batch,
    fmt: Format,
    parts: Split,
    rejects: list[Reject],
    ring: KeyRing,
    rules: Rules,
    now: datetime,
    reframed: frozenset[int] = frozenset(),
) -> Prepared:
    """Turn the frames of a split into the rows of the tables.

    `rejects` are those of decode and split together. `reframed`: rows whose values were no JSON when they came; their
    originals are canonical. Raises `ExpiredKeyError` when a month ends while it is sealed.
    """
    parts, values, refused = _originals(batch, fmt, parts, reframed)
    rejects = rejects + refused
    records = _positioned(batch, parts.records)
    hashes: list[pa.Table] = []
    identifiers: list[pa.Table] = []
    entries: list[pa.Table] = []
    kept = records.filter(~pl.col("late"))
    for (month, window), group in kept.group_by("month", "window_months", maintain_order=True):
        keys = ring.keys_for(Month.parse(str(month)), int(str(window)), create=True)
        ids = group.get_column(ID)
        scope = [i for i in ids.filter(group.get_column("in_scope")) if i in values] if values else []
        if scope:
            names = _names(batch, group.filter(pl.col(ID).is_in(scope)))
            found = [values[i] for i in scope]
            hashed = integrity_hashes(keys.salt_key.reveal(), names, [o.value for o in found])
            hashes.append(
                pa.table(
                    {
                        ID: pa.array(scope, pa.uint32()),
                        "hash": hashed.cast(pa.binary()),
                        "form": pa.array([o.form for o in found]),
                    }
                )
            )
        identifiers.append(_identifiers(batch, group, parts, keys))
        entries += _entries(group, parts, values, scope)
    metadata = _metadata(records, fmt, hashes)
    counts = Counts(
        messages=len(batch.values),
        records=records.height + len(rejects),
        split=kept.height,
        late=records.height - kept.height,
        rejected=sum(r.reason != Reason.TOMBSTONE for r in rejects),
        tombstones=sum(r.reason == Reason.TOMBSTONE for r in rejects),
        redacted=records.get_column("redacted").count(),
        content_dropped=parts.content_dropped,
        identifiers=sum(t.num_rows for t in identifiers),
        in_scope=len(values),
        reasons=Counter(r.reason for r in rejects if r.reason != Reason.TOMBSTONE),
    )
    return prepared(
        batch,
        counts,
        metadata=metadata,
        identifiers=pa.concat_tables([IDENTIFIERS.empty_table(), *identifiers]),
        entries=pa.concat_tables([ENTRIES.empty_table(), *entries]),
        quarantine=_quarantine(batch, fmt, rejects, ring, rules, now),
    )


def prepared(batch: Batch, counts: Counts, **tables: pa.Table) -> Prepared:
    """What a batch has become: its place and offsets, with the counts and the tables it has rows for."""
    return Prepared(
        stream=batch.source.stream,
        partition=batch.source.partition,
        source=batch.source.id,
        first=batch.first,
        last=batch.last,
        counts=counts,
        gap=batch.gap,
        **tables,
    )


def refuse(
    batch: Batch, fmt: Format, rejects: list[Reject], ring: KeyRing, rules: Rules, now: datetime
) -> Prepared:
    """A batch of which every message is refused. Of `fmt` only the name and what could be content count."""
    tombstones = sum(r.reason == Reason.TOMBSTONE for r in rejects)
    counts = Counts(
        messages=len(batch.values),
        records=len(rejects),
        rejected=len(rejects) - tombstones,
        tombstones=tombstones,
        reasons=Counter(r.reason for r in rejects if r.reason != Reason.TOMBSTONE),
    )
    return prepared(
        batch,
        counts,
        quarantine=_quarantine(batch, fmt, rejects, ring, rules, now),
    )


def _positioned(batch: Batch, records: pl.DataFrame) -> pl.DataFrame:
    offsets = batch.offsets[records.get_column(ROW).to_numpy()] if records.height else np.empty(0, np.int64)
    return records.with_columns(
        pl.lit(batch.source.stream).alias("stream"),
        pl.lit(batch.source.partition, pl.Int32).alias("partition"),
        pl.Series("offset", offsets, dtype=pl.Int64),
        pl.col(INDEX).alias("index"),
    )


def _names(batch: Batch, records: pl.DataFrame) -> list[str]:
    """The positions of records, as text (`schemas.position.Position`)."""
    prefix = f"{batch.source.stream}/{batch.source.partition}/"
    offsets, indexes = records.get_column("offset").to_list(), records.get_column("index")
    if indexes.null_count() == records.height:
        return [f"{prefix}{offset}" for offset in offsets]
    return [
        f"{prefix}{offset}" if index is None else f"{prefix}{offset}/{index}"
        for offset, index in zip(offsets, indexes, strict=True)
    ]


def _originals(
    batch: Batch, fmt: Format, parts: Split, reframed: frozenset[int]
) -> tuple[Split, dict[int, Any], list[Reject]]:
    """The originals of the records in scope, by id; a record that needs a canonical form and has none is refused."""
    scope = parts.records.filter(pl.col("in_scope") & ~pl.col("late"))
    values: dict[int, Any] = {}
    refused: dict[int, Reject] = {}
    for one, row, index, has_content, when in scope.select(
        ID, ROW, INDEX, "has_content", pl.col("event_time").dt.epoch("ms")
    ).rows():
        message = batch.values[row]
        assert message is not None  # noqa: S101  (a tombstone was never split)
        try:
            values[one] = original(message, index, has_content or row in reframed, fmt)
        except CanonicalError as error:
            refused[one] = Reject(row, index, Reason.NOT_CANONICAL, str(error), when)
    if not refused:
        return parts, values, []
    gone = pl.Series(list(refused), dtype=pl.UInt32).implode()
    keep = ~pl.col(ID).is_in(gone)
    smaller = Split(
        parts.records.filter(keep),
        parts.subjects.filter(keep),
        parts.fields.filter(keep),
        parts.message_ids,
        parts.rejects,
        parts.content_dropped,
    )
    return smaller, values, list(refused.values())


def _metadata(records: pl.DataFrame, fmt: Format, hashes: list[pa.Table]) -> pa.Table:
    if hashes:
        known = pl.from_arrow(pa.concat_tables(hashes))
        assert isinstance(known, pl.DataFrame)  # noqa: S101
        known = known.rename({"hash": "integrity_hash", "form": "original_form"})
        records = records.join(known, on=ID, how="left", maintain_order="left")
    records = records.with_columns(
        pl.lit(fmt.name).alias("format"), pl.lit(fmt.version, pl.Int32).alias("format_version")
    )
    present = [name for name in METADATA.names if name in records.columns]
    table = records.select(present).to_arrow()
    columns = [
        _cast(table.column(f.name), f.type) if f.name in present else pa.nulls(records.height, f.type)
        for f in METADATA
    ]
    return pa.table(columns, schema=METADATA)


def _cast(values: pa.ChunkedArray, dtype: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_fixed_size_binary(dtype):
        values = values.cast(pa.binary())
    return values.cast(dtype)


def _identifiers(batch: Batch, group: pl.DataFrame, parts: Split, keys: Any) -> pa.Table:
    """One row per end-user identifier, and one for a record that has none but a message id."""
    place = group.select(ID, "offset", "index", "event_time", "month", "window_months")
    rows = parts.subjects.join(place, on=ID, how="inner", maintain_order="left")
    if parts.message_ids is not None:
        named = group.get_column(ID)
        alone = place.filter(~named.is_in(rows.get_column(ID).implode())).with_columns(
            pl.lit("message").alias("role"),
            pl.lit("none").alias("kind"),
            pl.lit(None, pl.String).alias("value"),
        )
        has_id = parts.message_ids.gather(alone.get_column(ID)).is_not_null()
        rows = pl.concat([rows, alone.filter(has_id).select(rows.columns)])
    kinds, values = rows.get_column("kind"), rows.get_column("value")
    person = values.is_not_null()
    if person.all():
        tokens = subject_tokens(keys, kinds, values)
    else:
        some = subject_tokens(keys, kinds.filter(person), values.filter(person))
        tokens = pa.concat_arrays(
            [some, pa.nulls(rows.height - len(some), pa.binary(16))]
        )  # the rows without come last
    wants = needs_sealing(values).fill_null(False)
    sealed: Any = pa.nulls(rows.height, pa.binary())
    if wants.any():
        sealed = _sealed(batch, rows, tokens, wants, keys)
    if parts.message_ids is None:
        messages: Any = pa.nulls(rows.height, pa.binary(16))
    else:
        messages = message_tokens(keys, parts.message_ids.gather(rows.get_column(ID)))
    height = rows.height
    filled = {
        "stream": pa.array([batch.source.stream]).take(pa.array(np.zeros(height, np.int8))),
        "partition": pa.array(np.full(height, batch.source.partition, np.int32)),
        "token": tokens,
        "sealed": sealed,
        "message_token": messages,
    }
    rest = rows.to_arrow()
    return pa.table(
        [filled[f.name] if f.name in filled else rest.column(f.name).cast(f.type) for f in IDENTIFIERS],
        schema=IDENTIFIERS,
    )


def _sealed(batch: Batch, rows: pl.DataFrame, tokens: Any, wants: pl.Series, keys: Any) -> pa.Array:
    chosen = wants.arg_true()
    some = rows[chosen.to_list()]
    places = [
        subject_place(name, token)
        for name, token in zip(
            _names(batch, some), tokens.take(pa.array(chosen.to_list())).to_pylist(), strict=True
        )
    ]
    values: list[bytes | None] = [v.encode() for v in some.get_column("value")]
    sealed = seal_column(keys, "identifiers", "sealed", places, values)
    where = np.full(rows.height, -1, np.int64)
    where[chosen.to_numpy()] = np.arange(len(chosen))
    return sealed.take(pa.array(where, mask=where < 0))


def _entries(group: pl.DataFrame, parts: Split, values: dict[int, Any], scope: list[int]) -> list[pa.Table]:
    """Originals of the records in scope; of the others what the window keeps besides subjects, as JSON.

    In the order of `group`: what is in order now need not be moved when it is committed.
    """
    ids = group.get_column(ID)
    fields = parts.fields.get_column(ID).to_numpy()
    # Both ascend, and every record has its fields.
    joined = parts.fields[np.searchsorted(fields, ids.to_numpy())]
    columns = [c for c in parts.fields.columns if c != ID]
    if parts.message_ids is not None and (path := parts.message_ids.name) in columns:
        # A UUID is kept by its token already.
        joined = joined.with_columns(
            pl.when(~pl.col(path).str.contains(_UUID)).then(pl.col(path)).alias(path)
        )
    text = as_json(joined, columns).to_arrow().cast(pa.binary())
    form = pa.array([FIELDS]).take(pa.array(np.zeros(group.height, np.int8)))
    if scope:
        chosen = pa.array(np.isin(ids.to_numpy(), scope))
        text = pc.replace_with_mask(text, chosen, pa.array([values[i].value for i in scope], pa.binary()))
        form = pc.replace_with_mask(form, chosen, pa.array([values[i].form for i in scope]))
    place = group.select("stream", "partition", "offset", "index", "month", "window_months").to_arrow()
    entries = _entry_table(place, form, text)
    return [entries.filter(text.is_valid()) if text.null_count else entries]


def _entry_table(place: pa.Table, forms: Any, values: Any) -> pa.Table:
    columns = {"form": forms, "value": values}
    return pa.table(
        [columns[f.name] if f.name in columns else place.column(f.name).cast(f.type) for f in ENTRIES],
        schema=ENTRIES,
    )


def _quarantine(
    batch: Batch, fmt: Format, rejects: list[Reject], ring: KeyRing, rules: Rules, now: datetime
) -> pa.Table:
    """One row per reject; its value sealed under the month of the event if that is known, else of its arrival."""
    policy = rules.retention
    rows: list[dict[str, Any]] = []
    for reject in sorted(rejects, key=lambda r: (r.row, -1 if r.index is None else r.index)):
        received_ms = int(batch.received_ms[reject.row])
        received = datetime.fromtimestamp(received_ms / 1000, UTC) if 0 < received_ms < 2**42 else None
        arrival = min(received or now, now)
        event = reject.event_ms if reject.reason != Reason.FUTURE else None
        when = datetime.fromtimestamp(event / 1000, UTC) if event is not None else arrival
        month = Month.of(when)
        place = f"{batch.source.stream}/{batch.source.partition}/{int(batch.offsets[reject.row])}"
        place += "" if reject.index is None else f"/{reject.index}"
        form, sealed = None, None
        message = reject.value if reject.value is not None else batch.values[reject.row]
        if message is not None and not policy.window_ended(month, None, now):
            kept = quarantined(message, None if reject.value is not None else reject.index, fmt)
            keys = _keys(ring, month, policy.window_months) if kept is not None else None
            if kept is not None and keys is not None:
                form = kept[0]
                packed = zstandard.compress(kept[1], _COMPRESSION)
                sealed = seal_column(keys, "quarantine", "sealed", [place], [packed])[0].as_py()
        rows.append(
            {
                "stream": batch.source.stream,
                "partition": batch.source.partition,
                "offset": int(batch.offsets[reject.row]),
                "index": reject.index,
                "received_time": received,
                "format": fmt.name,
                "reason": reject.reason,
                "detail": reject.detail,
                "form": form,
                "sealed": sealed,
                "month": str(month),
                "window_months": policy.window_months,
            }
        )
    return pa.Table.from_pylist(rows, schema=QUARANTINE)


def _keys(ring: KeyRing, month: Month, window_months: int) -> MonthKeys | None:
    """The month's keys, None when it has ended meanwhile."""
    try:
        return ring.keys_for(month, window_months, create=True)
    except ExpiredKeyError:
        return None
