"""Split: a decoded batch becomes subjects, metadata and what stays in the window. The only way out for an identifier.

1. Convert every archive field; what does not fit is rejected or withheld.
2. Fill what rules and the format itself say.
3. Read the parties: end users become subjects, businesses go to the archive.
4. Place each record in time (too old, future, late) and in a country.
5. Guard the archive's columns against the row's own subjects.
6. Gather what the window keeps besides the subjects.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import unquote

import polars as pl

from lethe.schemas.declaration.fields import FieldSpec
from lethe.schemas.declaration.format import Format
from lethe.schemas.declaration.vocabulary import LONG_DIGITS
from lethe.streams.transform.batch import Reason, Reject
from lethe.streams.transform.decode.decode import INDEX, ROW, Decoded
from lethe.streams.transform.split.classify import place
from lethe.streams.transform.split.columns import convert
from lethe.streams.transform.split.conditions import holds
from lethe.streams.transform.split.leak_guard import leaks
from lethe.streams.transform.split.parties import read_parties
from lethe.streams.transform.split.work import ID, Rules, Work, no_subjects

_BEFORE: Final = timedelta(days=1)
_BEHIND: Final = timedelta(days=400)  # a message may be seen long after it was sent
_CONSTANTS: Final = ("channel", "direction", "status_group", "currency", "price_unit")


@dataclass(frozen=True, slots=True)
class Split:
    """The frames of one batch; `ID` joins them.

    `records`: `ID`, `ROW`, `INDEX`, `month`, `window_months`, `late`, `in_scope`, `has_content` and the archive's
    columns. `subjects`: `ID`, `role`, `kind`, `value`, one row per end-user identifier. `fields`: `ID` and one String
    column per declared path the window keeps (`=column` for what the guard took out). `message_ids`: the message id
    by `ID`. Late records are in `records` alone. `content`: `ROW` and `dropped`, how many content values each
    decoded row had; None where the format has no content.
    """

    records: pl.DataFrame
    subjects: pl.DataFrame
    fields: pl.DataFrame
    message_ids: pl.Series | None
    rejects: list[Reject]
    content: pl.DataFrame | None = None


def split(decoded: Decoded, fmt: Format, rules: Rules, now: datetime) -> Split:
    """Split decoded rows; each one is in `records` or among the rejects, never in both.

    The rejects of the decoding are not among them.
    """
    if fmt.percent_encoded:
        work = Work(_percent_decoded(decoded.frame).with_row_index(ID))
    else:
        work = Work(decoded.frame.with_row_index(ID), decoded.coded)
    for rule in fmt.rules:
        where = holds(work.frame, rule.when, doubt=False)
        work.put(rule.column, work.everywhere(rule.column, rule.value).set(~where, None))
    for spec in fmt.archive:
        _convert(work, spec)
    _doubt_done_time(work, fmt)
    _constants(work, fmt)
    read_parties(work, fmt)
    for spec in fmt.fields:
        if spec.required:
            text = work.frame.get_column(spec.path)
            if text.dtype == pl.String and (text.null_count() or (text == "").any()):
                work.refuse(text.is_null() | (text == ""), Reason.MISSING, spec.path)
    for column in ("channel", "direction"):
        if (values := work.columns[column]).null_count():
            work.refuse(values.is_null(), Reason.MISSING, column)
    return _assemble(work, fmt, rules, now)


def _percent_decoded(frame: pl.DataFrame) -> pl.DataFrame:
    """Texts as they were before they were written as in a URL."""
    changed = []
    for name, dtype in frame.schema.items():
        if dtype != pl.String or not (marked := frame.get_column(name).str.contains("%", literal=True)).any():
            continue
        distinct = frame.get_column(name).filter(marked).unique()
        decoded = pl.Series([unquote(t) for t in distinct], dtype=pl.String)
        changed.append(frame.get_column(name).replace(distinct, decoded))
    return frame.with_columns(changed)


def _convert(work: Work, spec: FieldSpec) -> None:
    coded, words = work.coded.get(spec.path), dict[str, pl.Series]()
    if coded is None:
        converted = convert(spec, work.frame.get_column(spec.path))
    else:
        distinct = convert(spec, coded.values)
        converted, words = distinct.spread(coded.codes), distinct.columns
    for name, values in converted.columns.items():
        work.put(name, values, words.get(name))
    if converted.bad is not None:
        if converted.reason:
            work.refuse(converted.bad, converted.reason, spec.path)
        else:
            work.withheld[spec.path] = (tuple(converted.columns), converted.bad)


def _doubt_done_time(work: Work, fmt: Format) -> None:
    """Withhold an end that does not belong to its beginning: as seconds since 1970, many a phone number is a time."""
    begun, done = work.columns.get("event_time"), work.columns.get("done_time")
    if begun is None or done is None:
        return
    odd = (done < begun - _BEFORE) | (done > begun + _BEHIND)
    if odd.any():
        odd = odd.fill_null(False)
        work.columns["done_time"] = done.set(odd, None)
        for spec in fmt.archive:
            if spec.column == "done_time":
                text = work.frame.get_column(spec.path)
                work.withheld[spec.path] = (("done_time",), odd & text.is_not_null())


def _constants(work: Work, fmt: Format) -> None:
    priced = [work.columns[n] for n in ("price", "currency") if n in work.columns]
    for name in _CONSTANTS:
        value = getattr(fmt, name)
        if value is None:
            continue
        constant = work.everywhere(name, value)
        if name in ("currency", "price_unit"):  # of nothing, where there is no price
            if not priced:
                continue
            if all(one.null_count() for one in priced):
                empty = priced[0].is_null()
                constant = constant.set(empty & priced[1].is_null() if len(priced) > 1 else empty, None)
        work.put(name, constant)


def _assemble(work: Work, fmt: Format, rules: Rules, now: datetime) -> Split:
    frame = work.frame
    people = pl.concat(work.subjects) if work.subjects else no_subjects()
    if len(work.subjects) > 1 or any("[]" in s.path for s in fmt.subjects):
        people = people.unique(maintain_order=True)  # the same address in two fields is one
    records = frame[[ID, ROW, INDEX]].hstack([values.alias(name) for name, values in work.columns.items()])
    records = place(work, records, people, rules, now)
    rejects, refused = _refuse(work, records)
    content = _content(frame, fmt)
    has_content = (
        work.everywhere("has_content", False) if content is None else content.get_column("dropped") > 0
    )
    records = records.hstack([has_content.alias("has_content")])
    if refused is not None:
        records = records.filter(~refused)
        people = people.join(records.select(ID), on=ID, how="semi", maintain_order="left")
    records, fields = _guard(work, records, people, fmt)
    kept = records.filter(~pl.col("late")) if records.get_column("late").any() else records
    if kept.height < frame.height:
        people = people.join(kept.select(ID), on=ID, how="semi", maintain_order="left")
        fields = fields.join(kept.select(ID), on=ID, how="semi", maintain_order="left")
    ids = frame.get_column(fmt.message_id.path) if fmt.message_id else None
    return Split(records, people, fields, ids, rejects, content)


def _refuse(work: Work, records: pl.DataFrame) -> tuple[list[Reject], pl.Series | None]:
    """The first reason found for each refused row, in the order the checks were made."""
    if not work.refused:
        return [], None
    anywhere = work.everywhere("refused", False)
    first: dict[int, tuple[str, str | None]] = {}
    for mask, reason, detail in work.refused:
        for at in mask.arg_true():
            first.setdefault(at, (reason, detail))
        anywhere = anywhere | mask
    places = records.filter(anywhere).select(ID, ROW, INDEX, pl.col("event_time").dt.epoch("ms")).rows()
    return [Reject(row, index, *first[at], when) for at, row, index, when in places], anywhere


def _content(frame: pl.DataFrame, fmt: Format) -> pl.DataFrame | None:
    """How many content values are dropped here, by row."""
    paths = [spec.path for spec in fmt.content]
    if not paths:
        return None
    dropped = pl.sum_horizontal(pl.col(path).is_not_null().cast(pl.Int64) for path in paths)
    return frame.select(ROW, dropped.alias("dropped"))


def _guard(
    work: Work, records: pl.DataFrame, people: pl.DataFrame, fmt: Format
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Empty what leaks, name it in `redacted`, and gather the fields the window keeps.

    `fields` is as long as the frame of the batch: rows that were refused leave it later.
    """
    ids = records.get_column(ID)
    redacted: dict[str, pl.Series] = {}
    kept: dict[str, pl.Series] = {}
    for path, (columns, mask) in work.withheld.items():
        kept[path] = work.frame.get_column(path).set(~mask, None)
        for column in columns:
            here = mask.gather(ids)
            redacted[column] = redacted[column] | here if column in redacted else here
    long_digits = frozenset(s.column for s in fmt.archive if s.pattern in LONG_DIGITS and s.column)
    for column, mask in leaks(records, people, long_digits, work.words).items():
        kept[f"={column}"] = _scatter(records.get_column(column), mask, ids, work.frame.height)
        redacted[column] = redacted[column] | mask if column in redacted else mask
        records = records.with_columns(records.get_column(column).set(mask, None))
    names = [pl.when(mask).then(pl.lit(column)).alias(column) for column, mask in sorted(redacted.items())]
    flag = pl.Series("redacted", [None], pl.String).new_from_index(0, records.height)
    if names:
        said = records.select(
            pl.concat_str(names, separator=",", ignore_nulls=True).alias("redacted")
        ).to_series()
        flag = said.set(said == "", None)
    for spec in fmt.of_class("window"):
        text = work.frame.get_column(spec.path)
        kept[spec.path] = text.list.join("\n") if isinstance(text.dtype, pl.List) else text
    for path, spelling in work.spelt.items():
        known = kept.get(path)
        kept[path] = spelling if known is None else known.zip_with(known.is_not_null(), spelling)
    return records.hstack([flag]), pl.DataFrame({ID: work.frame.get_column(ID)} | kept)


def _scatter(values: pl.Series, mask: pl.Series, ids: pl.Series, height: int) -> pl.Series:
    out = pl.Series([None], dtype=pl.String).new_from_index(0, height)
    return out.scatter(ids.filter(mask), values.filter(mask))


__all__ = ["ID", "INDEX", "ROW", "Rules", "Split", "split"]
