"""Seal: tokens, sealed values and integrity hashes, computed by the column, one calendar month after the other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lethe.integrity.rows.hashes import integrity_hashes
from lethe.keys.monthkeys import MonthKeys
from lethe.keys.ring import KeyRing
from lethe.keys.sealing import seal_column, subject_place
from lethe.keys.tokens import message_tokens, needs_sealing, subject_tokens, uuids
from lethe.schemas.arrow import IDENTIFIERS, METADATA, USAGE
from lethe.schemas.declaration.format import Format
from lethe.schemas.retention.calendar import Month
from lethe.schemas.transformed import DONE, ENTRIES, TransformedBatch
from lethe.streams.transform.batch import Load, Reason, Reject
from lethe.streams.transform.decode.json_columns import joined
from lethe.streams.transform.frames import rows_at, to_arrow
from lethe.streams.transform.seal.codes import stand_ins, with_stand_ins
from lethe.streams.transform.seal.originals import (
    FIELDS,
    RECEIVED,
    CanonicalError,
    Original,
    always_received,
    of_lines,
    original,
)
from lethe.streams.transform.seal.rejected import quarantine
from lethe.streams.transform.seal.usage import look_of, sealed_usage
from lethe.streams.transform.split import window_fields as fields
from lethe.streams.transform.split.rules import Rules
from lethe.streams.transform.split.split import ID, INDEX, ROW, Split
from lethe.streams.transform.split_by_batch import BatchIndex, Rows, counted, split_by_batch

_BATCH: Final = "_batch"
_PLACE: Final = ("stream", "partition", "offset", "index", "month", "window_months")
Mask = npt.NDArray[np.bool_]


def seal(
    load: Load,
    fmt: Format,
    parts: Split,
    rejects: list[Reject],
    ring: KeyRing,
    rules: Rules,
    now: datetime,
    reframed: frozenset[int] = frozenset(),
) -> list[TransformedBatch]:
    """Turn the frames of a split into the rows of the tables: what each batch of the load becomes.

    `rejects` are those of decode and split together. `reframed`: rows whose values were no JSON when they came; their
    originals are canonical. Raises `ExpiredKeyError` when a month ends while it is sealed.
    """
    parts, originals, rejected = _originals(load, fmt, parts, reframed)
    rejects = rejects + rejected
    records = _positioned(load, parts.records)
    hashes: list[tuple[npt.NDArray[np.int64], pa.Array, list[str]]] = []
    identifiers: list[Rows] = []
    entries: list[Rows] = []
    usage: list[Rows] = []
    done: list[Rows] = []
    shaped = None if parts.message_ids is None else uuids(parts.message_ids)
    shown: dict[str, pl.Series] = {}
    for month, window, group in _months(records):
        keys = ring.keys_for(month, window, create=True)
        scoped = group.get_column("in_scope").to_numpy()
        found = [originals[one] for one in group.get_column(ID).to_numpy()[scoped].tolist()]
        if found:
            names = _names(load, group, np.flatnonzero(scoped))
            hashed = integrity_hashes(keys.salt_key.reveal(), names, [o.value for o in found])
            hashes.append((group.get_column(ID).to_numpy()[scoped], hashed, [o.form for o in found]))
        identifiers.append(_identifiers(load, group, parts, keys))
        if fmt.data == "usage":
            usage.append(_usage(load, group, parts, fmt, keys))
            done.append(Rows(look_of(group, parts.subjects, fmt.name), usage[-1].batch_index))
            continue
        for column, texts in parts.codes.items():
            shown[column] = stand_ins(keys, column, texts, group.get_column(ID), shown.get(column))
        entries.append(_entries(group, parts, scoped, found, shaped))
    records = with_stand_ins(records, parts.codes, shown)
    archived = records.clear() if fmt.data == "usage" else records
    tables = {
        "metadata": Rows(_metadata(archived, fmt, hashes), archived.get_column(_BATCH).to_numpy()),
        "identifiers": _joined(IDENTIFIERS, identifiers),
        "entries": _joined(ENTRIES, entries),
        "quarantine": _quarantine(load, fmt, rejects, ring, rules, now),
        "usage": _joined(USAGE, usage),
    }
    if done:
        tables["done"] = _joined(DONE, done)
    counts = counted(
        load, rejects, records, parts.content, tables["identifiers"].batch_index, tables["usage"].batch_index
    )
    return split_by_batch(load, counts, **tables)


def reject_all(
    load: Load, fmt: Format, rejects: list[Reject], ring: KeyRing, rules: Rules, now: datetime
) -> TransformedBatch:
    """Make the result of a batch of which every message is rejected. Of `fmt` only the name and what could be content
    count.
    """
    nothing = pl.DataFrame(
        schema={ROW: pl.Int64, "late": pl.Boolean, "in_scope": pl.Boolean, "redacted": pl.String}
    )
    none = np.empty(0, np.int64)
    counts = counted(load, rejects, nothing, None, none, none)
    return split_by_batch(load, counts, quarantine=_quarantine(load, fmt, rejects, ring, rules, now))[0]


def _quarantine(
    load: Load, fmt: Format, rejects: list[Reject], ring: KeyRing, rules: Rules, now: datetime
) -> Rows:
    rows = np.sort(np.array([reject.row for reject in rejects], np.int64))
    return Rows(quarantine(load, fmt, rejects, ring, rules, now), load.batch_index[rows])


def _joined(schema: pa.Schema, parts: list[Rows]) -> Rows:
    return Rows(
        pa.concat_tables([schema.empty_table(), *(p.table for p in parts)]),
        np.concatenate([np.empty(0, np.int64), *(p.batch_index for p in parts)]),
    )


def _months(records: pl.DataFrame) -> Iterator[tuple[Month, int, pl.DataFrame]]:
    """Return the records whose identifiers are kept, by month and window."""
    late = records.get_column("late")
    kept = records.filter(~late) if late.any() else records
    if not kept.height:
        return
    months, windows = kept.get_column("month"), kept.get_column("window_months")
    if (months == months[0]).all() and (windows == windows[0]).all():
        yield Month.parse(months[0]), windows[0], kept
        return
    for (month, window), group in kept.group_by("month", "window_months", maintain_order=True):
        yield Month.parse(str(month)), int(str(window)), group


def _positioned(load: Load, records: pl.DataFrame) -> pl.DataFrame:
    rows = records.get_column(ROW).to_numpy()
    batch_index = load.batch_index[rows]
    sources = [batch.source for batch in load.batches]
    streams = pl.Series("stream", [s.stream for s in sources], dtype=pl.String)
    partitions = np.array([s.partition for s in sources], np.int32)
    return records.hstack(
        [
            streams[batch_index] if len(set(streams)) > 1 else streams[:1].new_from_index(0, records.height),
            pl.Series("partition", partitions[batch_index]),
            pl.Series("offset", load.offsets[rows], dtype=pl.Int64),
            records.get_column(INDEX).alias("index"),
            pl.Series(_BATCH, batch_index),
        ]
    )


def _names(load: Load, records: pl.DataFrame, at: npt.NDArray[np.int64]) -> list[str]:
    """Return the positions of the records at these places, as text (`lethe.schemas.position.Position`)."""
    rows, indexes = records.get_column(ROW).to_numpy()[at], records.get_column("index")[at]
    if indexes.null_count() < len(indexes):
        return [load.place(row, at) for row, at in zip(rows.tolist(), indexes.to_list(), strict=True)]
    before = [f"{batch.source.stream}/{batch.source.partition}/" for batch in load.batches]
    places = zip(load.batch_index[rows].tolist(), load.offsets[rows].tolist(), strict=True)
    return [f"{before[batch_index]}{offset}" for batch_index, offset in places]


def _originals(
    load: Load, fmt: Format, parts: Split, reframed: frozenset[int]
) -> tuple[Split, dict[int, Original], list[Reject]]:
    """Return the originals of the records in scope, by id; reject a record that needs a canonical form and has none."""
    in_scope = parts.records.get_column("in_scope") & ~parts.records.get_column("late")
    columns = parts.records[[ID, ROW, INDEX, "has_content", "event_time"]]
    scope = rows_at(columns, np.flatnonzero(in_scope.to_numpy()))
    if always_received(fmt) and not reframed and scope.get_column(INDEX).null_count() == scope.height:
        received = map(load.values.__getitem__, scope.get_column(ROW).to_list())
        as_they_came = [Original(RECEIVED, value) for value in received if value is not None]
        return parts, dict(zip(scope.get_column(ID).to_list(), as_they_came, strict=True)), []
    if fmt.lines and not reframed:
        received = map(load.values.__getitem__, scope.get_column(ROW).to_list())
        canonical = of_lines([value for value in received if value is not None], fmt)
        return parts, dict(zip(scope.get_column(ID).to_list(), canonical, strict=True)), []
    values: dict[int, Original] = {}
    rejected: dict[int, Reject] = {}
    for one, row, index, has_content, when in scope.select(
        ID, ROW, INDEX, "has_content", pl.col("event_time").dt.epoch("ms")
    ).iter_rows():
        message = load.values[row]
        assert message is not None  # noqa: S101  (a tombstone was never split)
        try:
            values[one] = original(message, index, has_content or row in reframed, fmt)
        except CanonicalError as error:
            rejected[one] = Reject(row, index, Reason.NOT_CANONICAL, str(error), when)
    if not rejected:
        return parts, values, []
    gone = pl.Series(list(rejected), dtype=pl.UInt32).implode()
    keep = ~pl.col(ID).is_in(gone)
    smaller = Split(
        parts.records.filter(keep),
        parts.subjects.filter(keep),
        parts.fields.filter(keep),
        parts.message_ids,
        parts.rejects,
        parts.content,
        parts.codes,
    )
    return smaller, values, list(rejected.values())


def _usage(load: Load, group: pl.DataFrame, parts: Split, fmt: Format, keys: MonthKeys) -> Rows:
    """Make one row per record of usage data; which accounts it names is said in it and in the identifiers."""
    names = _names(load, group, np.arange(group.height))
    filled = {
        "sealed": sealed_usage(group, parts.subjects, names, keys),
        "format": pa.repeat(fmt.name, group.height),
        "format_version": pa.repeat(pa.scalar(fmt.version, pa.int32()), group.height),
        **to_arrow(group, [*_PLACE, "event_time"]),
    }
    table = pa.table([filled[f.name].cast(f.type) for f in USAGE], schema=USAGE)
    return Rows(table, group.get_column(_BATCH).to_numpy())


def _metadata(
    records: pl.DataFrame, fmt: Format, hashes: list[tuple[npt.NDArray[np.int64], pa.Array, list[str]]]
) -> pa.Table:
    height = records.height
    filled: dict[str, Any] = {
        "format": pa.repeat(fmt.name, height),
        "format_version": pa.repeat(pa.scalar(fmt.version, pa.int32()), height),
    }
    if hashes:
        ids = np.concatenate([of for of, _, _ in hashes])
        known = pa.concat_arrays([values for _, values, _ in hashes])
        forms = pa.array([form for _, _, some in hashes for form in some])
        # Ids ascend: where a hash belongs is found without a join.
        at = np.full(height, -1, np.int64)
        at[np.searchsorted(records.get_column(ID).to_numpy(), ids)] = np.arange(len(ids))
        which = pa.array(at, mask=at < 0)
        filled |= {"integrity_hash": known.take(which), "original_form": forms.take(which)}
    present = [name for name in METADATA.names if name in records.columns]
    columns = to_arrow(records, present) | filled
    return pa.table(
        [columns[f.name].cast(f.type) if f.name in columns else pa.nulls(height, f.type) for f in METADATA],
        schema=METADATA,
    )


def _identifiers(load: Load, group: pl.DataFrame, parts: Split, keys: MonthKeys) -> Rows:
    """Make one row per end-user identifier, and one for a record that has none but a message id."""
    ids = group.get_column(ID).to_numpy()
    at = np.searchsorted(ids, parts.subjects.get_column(ID).to_numpy())
    mine = ids[np.minimum(at, len(ids) - 1)] == parts.subjects.get_column(ID).to_numpy()
    subjects = parts.subjects if mine.all() else parts.subjects.filter(pl.Series(mine))
    at = at[mine]
    tokens: Any = subject_tokens(keys, subjects.get_column("kind"), subjects.get_column("value"))
    roles, kinds = (subjects.get_column(name).to_arrow() for name in ("role", "kind"))
    wants = needs_sealing(subjects.get_column("value"))
    if wants.any():
        sealed: Any = _sealed(load, group, at, subjects, tokens, wants, keys)
    else:
        sealed = pa.nulls(len(at), pa.binary())
    if parts.message_ids is None:
        messages: Any = pa.nulls(len(at), pa.binary(16))
    else:
        alone = _unnamed(ids, at, parts.message_ids)
        if more := len(alone):  # they come last
            at = np.concatenate([at, alone])
            tokens = pa.concat_arrays([tokens, pa.nulls(more, tokens.type)])
            sealed = pa.concat_arrays([sealed, pa.nulls(more, pa.binary())])
            roles, kinds = (
                pa.concat_arrays([values, pa.repeat(pa.scalar(word, values.type), more)])
                for values, word in ((roles, "message"), (kinds, "none"))
            )
        where = ids[at]
        messages = message_tokens(keys, _at(parts.message_ids, where))
    filled = {"role": roles, "kind": kinds, "token": tokens, "sealed": sealed, "message_token": messages}
    place = group[[*_PLACE, "event_time"]]
    filled |= to_arrow(place if _every(at, place.height) else rows_at(place, at), place.columns)
    table = pa.table([filled[f.name].cast(f.type) for f in IDENTIFIERS], schema=IDENTIFIERS)
    return Rows(table, group.get_column(_BATCH).to_numpy()[at])


def _at(values: pl.Series, at: npt.NDArray[np.int64]) -> pl.Series:
    """Take values by their places, which mostly are all of them in order."""
    return values if _every(at, len(values)) else values[at]


def _every(at: npt.NDArray[np.int64], count: int) -> bool:
    return len(at) == count and bool((at == np.arange(count)).all())


def _unnamed(ids: npt.NDArray[Any], named: npt.NDArray[np.int64], message_ids: pl.Series) -> BatchIndex:
    """Return the places of records that name no end user but have a message id."""
    nobody = np.ones(len(ids), np.bool_)
    nobody[named] = False
    places = np.flatnonzero(nobody)
    return places[message_ids[ids[places]].is_not_null().to_numpy()] if len(places) else places


def _sealed(
    load: Load,
    group: pl.DataFrame,
    at: npt.NDArray[np.int64],
    subjects: pl.DataFrame,
    tokens: Any,
    wants: pl.Series,
    keys: MonthKeys,
) -> pa.Array:
    chosen = np.flatnonzero(wants.to_numpy())
    names = _names(load, group, at[chosen])
    places = [
        subject_place(name, token)
        for name, token in zip(names, tokens.take(pa.array(chosen)).to_pylist(), strict=True)
    ]
    values: list[bytes | None] = [v.encode() for v in subjects.get_column("value")[chosen]]
    sealed = seal_column(keys, "identifiers", "sealed", places, values)
    where = np.full(len(at), -1, np.int64)
    where[chosen] = np.arange(len(chosen))
    return sealed.take(pa.array(where, mask=where < 0))


def _entries(
    group: pl.DataFrame, parts: Split, scoped: Mask, found: list[Original], shaped: pl.Series | None
) -> Rows:
    """Make entries: originals of the records in scope; of the others what the window keeps besides subjects, as JSON.

    In the order of `group`: what is in order now need not be moved when it is committed.
    """
    form = pa.array([o.form for o in found], pa.string())
    if scoped.all():
        value = joined([o.value for o in found])[0].cast(pa.binary())
    else:
        originals: list[bytes | None] = [None] * group.height
        for at, one in zip(np.flatnonzero(scoped).tolist(), found, strict=True):
            originals[at] = one.value
        mine, columns = _window_fields(group.get_column(ID).to_numpy(), parts, shaped)
        value = fields.entries(mine, columns, originals)
        form = pc.replace_with_mask(pa.repeat(FIELDS, group.height), pa.array(scoped), form)
    if value.null_count:
        kept = value.is_valid()
        form, value, group = form.filter(kept), value.filter(kept), group.filter(pl.Series(kept))
    filled = {"form": form, "value": value, **to_arrow(group, _PLACE)}
    entries = pa.table([filled[f.name].cast(f.type) for f in ENTRIES], schema=ENTRIES)
    return Rows(entries, group.get_column(_BATCH).to_numpy())


def _window_fields(
    ids: npt.NDArray[np.int64], parts: Split, shaped: pl.Series | None
) -> tuple[pl.DataFrame, list[str]]:
    """Return what the window keeps of these records besides subjects, and in which columns of it."""
    given = parts.fields.get_column(ID).to_numpy()
    # Both ascend, and every record has its fields.
    mine = parts.fields if len(ids) == len(given) else parts.fields[np.searchsorted(given, ids)]
    columns = [c for c in mine.columns if c != ID]
    if parts.message_ids is not None and shaped is not None and (path := parts.message_ids.name) in columns:
        # A UUID is kept by its token already.
        shaped = _at(shaped, ids)
        if shaped.all():
            columns.remove(path)
        elif shaped.any():
            mine = mine.with_columns(mine.get_column(path).set(shaped, None))
    return mine, columns
