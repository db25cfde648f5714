"""Split a decoded batch into subjects, metadata and what stays in the window. The only way out for an identifier.

1. Fill what rules say, then convert every archive field; what does not fit is rejected or withheld.
2. Fill what the format itself says, and what the record costs in all.
3. Read the parties: end users become subjects, businesses go to the archive.
4. Classify each record: country, month, window, late or not, too old or in the future, in integrity scope or not.
5. Guard the archive's columns against the row's own subjects.
6. Gather what the window keeps besides the subjects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import unquote

import polars as pl

from lethe.schemas.declaration.fields import FieldSpec
from lethe.schemas.declaration.format import Format
from lethe.schemas.declaration.vocabulary import CODES, LONG_DIGITS
from lethe.schemas.line import ANY_LINE, Line
from lethe.streams.transform.batch import Reason, Reject
from lethe.streams.transform.decode.decode import INDEX, ROW, Decoded
from lethe.streams.transform.decode.json_columns import Coded
from lethe.streams.transform.split._collected import ArchiveColumns, KeptTexts, Rejections, constant
from lethe.streams.transform.split.amounts import fill_currency, undeclared
from lethe.streams.transform.split.charges import fill_charges
from lethe.streams.transform.split.classify import classify, classify_usage
from lethe.streams.transform.split.columns import convert
from lethe.streams.transform.split.conditions import holds
from lethe.streams.transform.split.leak_guard import leaks
from lethe.streams.transform.split.number_guard import number_leaks
from lethe.streams.transform.split.parties import read_parties
from lethe.streams.transform.split.rules import ID, Rules

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
    decoded row had; None where the format has no content. `codes`: what was withheld from columns that never end
    empty, by `ID`: it gets a stand-in under the month's key.
    """

    records: pl.DataFrame
    subjects: pl.DataFrame
    fields: pl.DataFrame
    message_ids: pl.Series | None
    rejects: list[Reject]
    content: pl.DataFrame | None = None
    codes: Mapping[str, pl.Series] = field(default_factory=dict)


def split(decoded: Decoded, fmt: Format, rules: Rules, now: datetime, line: Line = ANY_LINE) -> Split:
    """Split decoded rows; each one is in `records` or among the rejects, never in both.

    The rejects of the decoding are not among them.
    """
    frame, coded = decoded.frame, decoded.coded
    if fmt.percent_encoded:
        frame, coded = _percent_decoded(frame), {}
    frame = frame.with_row_index(ID)
    columns, kept, rejections = ArchiveColumns(frame.height), KeptTexts(), Rejections()
    for condition in fmt.skips:
        rejections.add(holds(frame, condition, doubt=False), Reason.NO_COMMUNICATION)
    for rule in fmt.rules:
        where = holds(frame, rule.when, doubt=False)
        columns.put(rule.column, constant(rule.column, rule.value, frame.height).set(~where, None))
    for spec in (*fmt.archive, *fmt.usage):
        _convert(spec, line, frame, coded.get(spec.path), columns, kept, rejections)
    _withhold_doubtful_ends(frame, fmt, columns, kept)
    _constants(fmt, line, columns)
    fill_currency(frame, fmt, columns, rejections)
    fill_charges(frame, fmt, line, columns, rejections)
    people = read_parties(frame, fmt, line, columns, kept, rejections)
    _reject_missing(frame, fmt, columns, rejections)
    records = frame[[ID, ROW, INDEX]].hstack([v.alias(name) for name, v in columns.values.items()])
    accounts = _accounts(frame, records, kept) if rules.residence is not None else None
    if fmt.data == "usage":
        records = classify_usage(records, people, rules, now, rejections, accounts)
    else:
        records = classify(records, people, rules, now, rejections, accounts)
    listed = rules.listed() if rules.listed is not None and kept.withheld else None
    return _assemble(frame, fmt, records, people, columns, kept, rejections, listed)


def _accounts(frame: pl.DataFrame, records: pl.DataFrame, kept: KeptTexts) -> pl.Series | None:
    """Return the accounts as they were written; None for a format without any."""
    found = records.get_column("account") if "account" in records.columns else None
    for (path, column), mask in kept.withheld.items():
        if column == "account":
            written = _text(frame, path).str.strip_chars().set(~mask, None)
            found = written if found is None else found.zip_with(found.is_not_null(), written)
    return found


def _reject_missing(
    frame: pl.DataFrame, fmt: Format, columns: ArchiveColumns, rejections: Rejections
) -> None:
    for spec in fmt.fields:
        if spec.required:
            text = frame.get_column(spec.path)
            if text.dtype == pl.String and (text.null_count() or (text == "").any()):
                rejections.add(text.is_null() | (text == ""), Reason.MISSING, spec.path)
    for column in ("channel", "direction") if fmt.data == "communication" else ():
        if (values := columns.values[column]).null_count():
            rejections.add(values.is_null(), Reason.MISSING, column)


def _percent_decoded(frame: pl.DataFrame) -> pl.DataFrame:
    """Undo the percent-encoding of texts."""
    changed = []
    for name, dtype in frame.schema.items():
        if dtype != pl.String or not (marked := frame.get_column(name).str.contains("%", literal=True)).any():
            continue
        distinct = frame.get_column(name).filter(marked).unique()
        decoded = pl.Series([unquote(t) for t in distinct], dtype=pl.String)
        changed.append(frame.get_column(name).replace(distinct, decoded))
    return frame.with_columns(changed)


def _convert(
    spec: FieldSpec,
    line: Line,
    frame: pl.DataFrame,
    coded: Coded | None,
    columns: ArchiveColumns,
    kept: KeptTexts,
    rejections: Rejections,
) -> None:
    """Convert one field. `coded`: its column as a table of distinct values, which are converted once each."""
    distinct = dict[str, pl.Series]()
    if coded is None:
        converted = convert(spec, frame.get_column(spec.path), line.zone)
    else:
        once = convert(spec, coded.values, line.zone)
        converted, distinct = once.spread(coded.codes), once.columns
    for name, values in converted.columns.items():
        columns.put(name, values, distinct.get(name))
    if converted.bad is not None:
        if converted.reason:
            if spec.type == "decimal":
                doubtful = frame.get_column(spec.path).set(~converted.bad, None)
                rejections.add(undeclared(doubtful, spec.decimal_mark), Reason.AMOUNT_FORM, spec.path)
            rejections.add(converted.bad, converted.reason, spec.path)
        else:
            kept.withheld.update({(spec.path, name): converted.bad for name in converted.columns})
    if converted.unkept is not None and spec.keep is not None:
        kept.withheld[spec.path, spec.keep] = converted.unkept


def _withhold_doubtful_ends(
    frame: pl.DataFrame, fmt: Format, columns: ArchiveColumns, kept: KeptTexts
) -> None:
    """Withhold an end that does not belong to its beginning: as seconds since 1970, many a phone number is a time."""
    begun, done = columns.values.get("event_time"), columns.values.get("done_time")
    if begun is None or done is None:
        return
    odd = (done < begun - _BEFORE) | (done > begun + _BEHIND)
    if odd.any():
        odd = odd.fill_null(False)
        columns.values["done_time"] = done.set(odd, None)
        for spec in fmt.archive:
            if spec.column == "done_time":
                kept.withheld[spec.path, "done_time"] = odd & frame.get_column(spec.path).is_not_null()


def _constants(fmt: Format, line: Line, columns: ArchiveColumns) -> None:
    """Fill what the format says of every record; a currency and a price unit only where there is a price."""
    priced = [columns.values[n] for n in ("price", "currency") if n in columns.values]
    for name in _CONSTANTS:
        value = line.currency if name == "currency" and line.currency else getattr(fmt, name)
        if value is None:
            continue
        everywhere = constant(name, value, columns.height)
        if name in ("currency", "price_unit"):
            if not priced:
                continue
            if all(one.null_count() for one in priced):
                empty = priced[0].is_null()
                everywhere = everywhere.set(empty & priced[1].is_null() if len(priced) > 1 else empty, None)
        columns.put(name, everywhere)


def _assemble(
    frame: pl.DataFrame,
    fmt: Format,
    records: pl.DataFrame,
    people: pl.DataFrame,
    columns: ArchiveColumns,
    kept: KeptTexts,
    rejections: Rejections,
    listed: Mapping[str, frozenset[str]] | None,
) -> Split:
    rejects, rejected = _rejects(records, rejections)
    content = _content(frame, fmt)
    has_content = (
        constant("has_content", False, frame.height) if content is None else content.get_column("dropped") > 0
    )
    records = records.hstack([has_content.alias("has_content")])
    if rejected is not None:
        records = records.filter(~rejected)
        people = people.join(records.select(ID), on=ID, how="semi", maintain_order="left")
    if listed:
        records = _with_listed(frame, records, listed, columns, kept)
    records, fields, codes = _guard(frame, records, people, fmt, columns.distinct, kept)
    remaining = records.filter(~pl.col("late")) if records.get_column("late").any() else records
    if remaining.height < frame.height:
        people = people.join(remaining.select(ID), on=ID, how="semi", maintain_order="left")
        fields = fields.join(remaining.select(ID), on=ID, how="semi", maintain_order="left")
    ids = frame.get_column(fmt.message_id.path) if fmt.message_id else None
    return Split(records, people, fields, ids, rejects, content, codes)


def _rejects(records: pl.DataFrame, rejections: Rejections) -> tuple[list[Reject], pl.Series | None]:
    """Return the rejected records with the first reason found for each, and where they are."""
    reasons, anywhere = rejections.first()
    if anywhere is None:
        return [], None
    places = records.filter(anywhere).select(ID, ROW, INDEX, pl.col("event_time").dt.epoch("ms")).rows()
    return [Reject(row, index, *reasons[at], when) for at, row, index, when in places], anywhere


def _content(frame: pl.DataFrame, fmt: Format) -> pl.DataFrame | None:
    """Count the content values that are dropped, by row."""
    paths = [spec.path for spec in fmt.content]
    if not paths:
        return None
    dropped = pl.sum_horizontal(pl.col(path).is_not_null().cast(pl.Int64) for path in paths)
    return frame.select(ROW, dropped.alias("dropped"))


def _guard(
    frame: pl.DataFrame,
    records: pl.DataFrame,
    people: pl.DataFrame,
    fmt: Format,
    distinct: Mapping[str, pl.Series],
    texts: KeptTexts,
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, pl.Series]]:
    """Empty what leaks, name it in `redacted`, and gather the fields the window keeps.

    `fields` is as long as the frame of the batch: rows that were rejected leave it later.
    """
    ids = records.get_column(ID)
    redacted: dict[str, pl.Series] = {}
    codes: dict[str, pl.Series] = {}
    kept: dict[str, pl.Series] = {}
    for (path, column), mask in texts.withheld.items():
        text = _text(frame, path).set(~mask, None)
        _fill(kept, path, text)
        if column in CODES:
            _fill(codes, column, text)
        here = mask.gather(ids)
        redacted[column] = redacted[column] | here if column in redacted else here
    if fmt.data == "usage":  # all of it is in the window; what fits no column is nowhere
        return records.hstack([_flag(records, redacted)]), pl.DataFrame([frame.get_column(ID)]), {}
    long_digits = frozenset(s.column for s in fmt.archive if s.pattern in LONG_DIGITS and s.column)
    found = leaks(records, people, long_digits, distinct) | number_leaks(records, people, distinct)
    for column, mask in found.items():
        texts_of = records.get_column(column).cast(pl.String)
        kept[f"={column}"] = _scatter(texts_of, mask, ids, frame.height)
        if column in CODES:
            _fill(codes, column, kept[f"={column}"])
        redacted[column] = redacted[column] | mask if column in redacted else mask
        records = records.with_columns(records.get_column(column).set(mask, None))
    for spec in fmt.of_class("window"):
        kept[spec.path] = _text(frame, spec.path)
    for path, spelling in texts.by_path.items():
        _fill(kept, path, spelling)
    flagged = records.hstack([_flag(records, redacted)])
    return flagged, pl.DataFrame({ID: frame.get_column(ID)} | kept), codes


def _flag(records: pl.DataFrame, redacted: Mapping[str, pl.Series]) -> pl.Series:
    """Return the names of the columns that were emptied, by record; null where none was."""
    names = [pl.when(mask).then(pl.lit(column)).alias(column) for column, mask in sorted(redacted.items())]
    if not names:
        return pl.Series("redacted", [None], pl.String).new_from_index(0, records.height)
    said = records.select(
        pl.concat_str(names, separator=",", ignore_nulls=True).alias("redacted")
    ).to_series()
    return said.set(said == "", None)


def _with_listed(
    frame: pl.DataFrame,
    records: pl.DataFrame,
    listed: Mapping[str, frozenset[str]],
    archive: ArchiveColumns,
    kept: KeptTexts,
) -> pl.DataFrame:
    """Put codes that the site lists into their columns as they were written; the guard still looks at them."""
    ids = records.get_column(ID)
    for (path, column), mask in list(kept.withheld.items()):
        if column not in listed:
            continue
        text = _text(frame, path).str.strip_chars()
        told = mask & text.is_in(list(listed[column])).fill_null(False)
        if told.any():
            values = records.get_column(column)
            instead = text.set(~told, None).gather(ids)
            records = records.with_columns(values.zip_with(values.is_not_null(), instead).alias(column))
            archive.distinct.pop(column, None)  # the guard is to see these too
            kept.withheld[path, column] = mask & ~told
    return records


def _text(frame: pl.DataFrame, path: str) -> pl.Series:
    """Return what stands at a path as texts; those of a list one a line."""
    text = frame.get_column(path)
    return text.list.join("\n") if isinstance(text.dtype, pl.List) else text


def _fill(texts: dict[str, pl.Series], name: str, more: pl.Series) -> None:
    """Fill a column of texts; what came before stays."""
    known = texts.get(name)
    texts[name] = more if known is None else known.zip_with(known.is_not_null(), more)


def _scatter(values: pl.Series, mask: pl.Series, ids: pl.Series, height: int) -> pl.Series:
    out = pl.Series([None], dtype=pl.String).new_from_index(0, height)
    return out.scatter(ids.filter(mask), values.filter(mask))


__all__ = ["ID", "INDEX", "ROW", "Rules", "Split", "split"]
