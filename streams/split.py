"""Split: a decoded batch becomes subjects, metadata and what stays in the window. The only way out for an identifier.

1. Convert every archive field; what does not fit is rejected or withheld.
2. Read the subjects: end users are normalised, businesses go to the archive.
3. Place each record in time (too old, future, late) and in a country.
4. Guard the archive's columns against the row's own subjects.
5. Gather what the window keeps besides the subjects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from schemas.format import Condition, FieldSpec, Format
from schemas.geography import country_of_mcc, country_of_prefix
from schemas.policy import RetentionPolicy
from schemas.retention import Month, first_open_month
from schemas.subjects import business_address, normalise_column
from streams.batch import Reason, Reject
from streams.columns import TIME, convert
from streams.decode import INDEX, ROW
from streams.guard import leaks

ID: Final = "_id"
_RESERVED: Final = frozenset({ROW, INDEX, ID})


@dataclass(frozen=True, slots=True)
class Rules:
    """What the split goes by besides the declaration."""

    retention: RetentionPolicy
    scope: str | tuple[str, ...]  # "all", "none" or countries
    future: timedelta


@dataclass(frozen=True, slots=True)
class Split:
    """The frames of one batch; `_id` joins them.

    `records`: `_id`, `_row`, `_index`, `month`, `window_months`, `late`, `in_scope`, `has_content` and the archive's
    columns. `subjects`: `_id`, `role`, `kind`, `value`, one row per end-user identifier. `fields`: `_id` and one String
    column per declared path the window keeps. Late records are in `records` alone.
    """

    records: pl.DataFrame
    subjects: pl.DataFrame
    fields: pl.DataFrame
    message_ids: pl.Series | None
    rejects: list[Reject]
    content_dropped: int = 0


@dataclass(slots=True)
class _Work:
    """State of one split: masks and columns aligned with the decoded frame."""

    frame: pl.DataFrame
    columns: dict[str, pl.Series] = field(default_factory=dict)
    withheld: dict[str, tuple[tuple[str, ...], pl.Series]] = field(default_factory=dict)  # path -> columns, rows
    refused: list[tuple[pl.Series, str, str | None]] = field(default_factory=list)
    subjects: list[pl.DataFrame] = field(default_factory=list)
    respelled: dict[str, pl.Series] = field(default_factory=dict)  # path -> text where the value lost its spelling

    def put(self, name: str, values: pl.Series) -> None:
        """Fill a column; a later field fills only what an earlier one left empty."""
        known = self.columns.get(name)
        self.columns[name] = values if known is None else known.zip_with(known.is_not_null(), values)


def split(frame: pl.DataFrame, fmt: Format, rules: Rules, now: datetime) -> Split:
    """Split decoded rows; each one is in `records` or among the rejects, never in both."""
    work = _Work(frame.with_row_index(ID))
    for spec in fmt.archive:
        _convert(work, spec)
    for spec in fmt.subjects:
        _subject(work, spec)
    for spec in fmt.fields:
        if spec.required:
            text = work.frame.get_column(spec.path)
            if text.dtype == pl.String and (text.null_count() or (text == "").any()):
                work.refused.append((text.is_null() | (text == ""), Reason.MISSING, spec.path))
    _constants(work, fmt)
    return _assemble(work, fmt, rules, now)


def _convert(work: _Work, spec: FieldSpec) -> None:
    text = work.frame.get_column(spec.path)
    converted = convert(spec, text)
    for name, values in converted.columns.items():
        work.put(name, values)
    if converted.bad is not None:
        if converted.reason:
            work.refused.append((converted.bad, converted.reason, spec.path))
        else:
            work.withheld[spec.path] = (tuple(converted.columns), converted.bad)


def _subject(work: _Work, spec: FieldSpec) -> None:
    values = work.frame.get_column(spec.path)
    if values.dtype != pl.String:
        _listed_subject(work, spec, values)
        return
    if (wrong := values.str.starts_with("{") | values.str.starts_with("[{")).any():
        work.refused.append((wrong.fill_null(False), Reason.WRONG_TYPE, spec.path))
    person = _is_end_user(work, spec)
    if person is None or person.any():
        whose = values if person is None else values.set(~person, None)
        found = normalise_column(whose, spec.kind, _channel_name(spec))
        rows = found.with_columns(work.frame.get_column(ID), pl.lit(spec.role).alias("role"))
        work.subjects.append(rows.filter(pl.col("value").is_not_null()).select(ID, "role", "kind", "value"))
        _respelled(work, spec, whose, found.get_column("value"))
        _kind_column(work, spec, found.get_column("kind"))
    if person is not None and not person.all():
        _business(work, spec, values.set(person, None))


def _listed_subject(work: _Work, spec: FieldSpec, values: pl.Series) -> None:
    """Subjects in a list (`group[].to`): all of them end users, any number a record."""
    opened = work.frame.select(ID, pl.col(spec.path).alias("text")).explode("text").drop_nulls("text")
    found = normalise_column(opened.get_column("text"), spec.kind, _channel_name(spec))
    rows = found.with_columns(opened.get_column(ID), pl.lit(spec.role).alias("role"))
    work.subjects.append(rows.drop_nulls("value").select(ID, "role", "kind", "value"))
    joined = values.list.join("\n")
    work.respelled[spec.path] = joined


def _channel_name(spec: FieldSpec) -> str:
    return "chat" if spec.kind != "chat" else "chat"


def _is_end_user(work: _Work, spec: FieldSpec) -> pl.Series | None:
    """None: always; otherwise a Boolean column."""
    if spec.end_user == "always":
        return None
    if isinstance(spec.end_user, Condition):
        text = work.frame.get_column(spec.end_user.field)
        if spec.end_user.is_ is not None:
            holds = text.is_in(list(spec.end_user.is_))
        elif spec.end_user.is_not is not None:
            holds = ~text.is_in(list(spec.end_user.is_not))
        else:
            holds = text.str.contains(spec.end_user.matches or "")
        return holds.fill_null(True)  # in doubt a person
    return pl.Series(spec.path, [False], dtype=pl.Boolean).new_from_index(0, work.frame.height)


def _business(work: _Work, spec: FieldSpec, values: pl.Series) -> None:
    values = values.set((values == "").fill_null(False), None)
    distinct = values.unique().drop_nulls()
    known = [business_address(t) for t in distinct]
    kind, address = (
        values.replace_strict(distinct, pl.Series(found, dtype=pl.String), default=None, return_dtype=pl.String)
        for found in ([k and k.kind for k in known], [k and k.address for k in known])
    )
    _kind_column(work, spec, kind)
    if spec.business not in ("sender", "recipient"):
        work.respelled[spec.path] = values
        return
    work.put(spec.business, address)
    if (bad := values.is_not_null() & address.is_null()).any():
        work.withheld[spec.path] = ((spec.business,), bad)
    _respelled(work, spec, values.set(bad, None), address)


def _respelled(work: _Work, spec: FieldSpec, text: pl.Series, value: pl.Series) -> None:
    """Keep in the window what was written where the value has lost its spelling."""
    changed = (text != value).fill_null(False)
    if changed.any():
        spelling = text.set(~changed, None)
        known = work.respelled.get(spec.path)
        work.respelled[spec.path] = spelling if known is None else known.zip_with(known.is_not_null(), spelling)


def _kind_column(work: _Work, spec: FieldSpec, kinds: pl.Series) -> None:
    if spec.role in ("sender", "caller", "source"):
        work.put("source_kind", kinds)
    elif spec.role in ("recipient", "callee", "destination"):
        work.put("destination_kind", kinds)


def _constants(work: _Work, fmt: Format) -> None:
    height = work.frame.height
    for name in ("channel", "direction", "price_unit", "status_group"):
        value = getattr(fmt, name)
        if value is None:
            continue
        constant = pl.Series(name, [value], dtype=pl.String).new_from_index(0, height)
        if name == "price_unit":
            price = work.columns.get("price")
            if price is None:
                continue
            constant = constant.set(price.is_null(), None)
        work.put(name, constant)


def _assemble(work: _Work, fmt: Format, rules: Rules, now: datetime) -> Split:
    frame = work.frame
    people = pl.concat(work.subjects) if work.subjects else _no_subjects()
    records = frame.select(ID, ROW, INDEX).with_columns(
        [values.alias(name) for name, values in work.columns.items()]
    )
    records = _place(work, records, people, rules, now)
    rejects, refused = _refuse(work, records)
    content, has_content = _content(frame, fmt)
    records = records.with_columns(has_content)
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


def _place(
    work: _Work, records: pl.DataFrame, people: pl.DataFrame, rules: Rules, now: datetime
) -> pl.DataFrame:
    """Add country, month, window_months, late and in_scope; refuse what lies in the future or is too old."""
    records, countries = _countries(records, people)
    when = records.get_column("event_time")
    if when.null_count():
        work.refused.append((when.is_null(), Reason.MISSING, "event_time"))
    limit = now + rules.future
    if (ahead := (when > limit).fill_null(False)).any():
        work.refused.append((ahead, Reason.FUTURE, None))
    text = when.dt.strftime("%Y-%m") if records.height else pl.Series([], dtype=pl.String)
    months = {m: Month.parse(m) for m in text.unique().drop_nulls()}
    policy = rules.retention
    records = records.with_columns(text.alias("month"))
    if policy.countries:
        windows = countries.with_columns(
            pl.col("country").map_elements(policy.window_of, return_dtype=pl.Int32, skip_nulls=False).alias("w")
        )
        shortest = windows.group_by(ID).agg(pl.col("w").min())
        records = records.join(shortest, on=ID, how="left", maintain_order="left").with_columns(
            pl.col("w").fill_null(policy.window_months).alias("window_months")
        ).drop("w")
    else:
        records = records.with_columns(pl.lit(policy.window_months, pl.Int32).alias("window_months"))
    late = pl.lit(False)
    for window in policy.windows():
        first_open = str(first_open_month(now, window))
        late = late | ((pl.col("window_months") == window) & (pl.col("month") < first_open))
    old = [name for name, month in months.items() if policy.archive_ended(month.year, None, now)]
    if old:
        work.refused.append((text.is_in(old).fill_null(False), Reason.TOO_OLD, None))
    scope = pl.lit(rules.scope == "all")
    if isinstance(rules.scope, tuple):
        scoped = countries.filter(pl.col("country").is_in(list(rules.scope))).get_column(ID)
        scope = pl.col(ID).is_in(scoped.implode())
    return records.with_columns(late=late.fill_null(False), in_scope=scope)


def _countries(records: pl.DataFrame, people: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The end user's country by number, else by network; and every (id, country) that may put a record in scope."""
    numbers = people.filter(pl.col("kind") == "msisdn").select(ID, pl.col("value").str.slice(0, 4).alias("p"))
    prefixes = numbers.get_column("p").unique()
    by_number = numbers.select(
        ID,
        country=pl.col("p").replace_strict(
            prefixes, pl.Series([country_of_prefix(p) for p in prefixes], dtype=pl.String), default=None,
            return_dtype=pl.String,
        ),
    ).drop_nulls()  # fmt: skip
    every = by_number
    records = records.join(by_number.unique(ID, keep="first"), on=ID, how="left", maintain_order="left")
    if "mcc" in records.columns:
        codes = records.get_column("mcc").unique().drop_nulls()
        network = pl.col("mcc").replace_strict(
            codes, pl.Series([country_of_mcc(c) for c in codes], dtype=pl.String), default=None,
            return_dtype=pl.String,
        )  # fmt: skip
        every = pl.concat([by_number, records.select(ID, country=network).drop_nulls()])
        records = records.with_columns(country=pl.coalesce("country", network))
    return records, every


def _refuse(work: _Work, records: pl.DataFrame) -> tuple[list[Reject], pl.Series | None]:
    """The first reason found for each refused row, in the order the checks were made."""
    if not work.refused:
        return [], None
    times = records.get_column("event_time").dt.epoch("ms")
    rows, indexes = records.get_column(ROW), records.get_column(INDEX)
    rejects: dict[int, Reject] = {}
    anywhere = pl.Series([False], dtype=pl.Boolean).new_from_index(0, records.height)
    for mask, reason, detail in work.refused:
        for place in mask.arg_true():
            rejects.setdefault(place, Reject(rows[place], indexes[place], reason, detail, times[place]))
        anywhere = anywhere | mask
    return list(rejects.values()), anywhere


def _content(frame: pl.DataFrame, fmt: Format) -> tuple[int, pl.Series]:
    """How many content values are dropped here, and which records had any."""
    paths = [spec.path for spec in fmt.content]
    if not paths:
        return 0, pl.Series("has_content", [False]).new_from_index(0, frame.height)
    present = frame.select(pl.col(paths).is_not_null())
    dropped = int(present.select(pl.sum_horizontal(pl.all().sum())).item() or 0) if frame.height else 0
    return dropped, present.select(pl.any_horizontal(pl.all()).alias("has_content")).to_series()


def _guard(
    work: _Work, records: pl.DataFrame, people: pl.DataFrame, fmt: Format
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Empty what leaks, name it in `redacted`, and gather the fields the window keeps."""
    ids = records.get_column(ID)
    whole = records.height == work.frame.height
    redacted: dict[str, pl.Series] = {}
    kept: dict[str, pl.Series] = {}
    for path, (columns, mask) in work.withheld.items():
        mask = mask if whole else mask.gather(ids)
        kept[path] = work.frame.get_column(path).set(~(mask if whole else work.withheld[path][1]), None)
        for column in columns:
            redacted[column] = mask
            records = records.with_columns(records.get_column(column).set(mask, None))
    for column, mask in leaks(records, people).items():
        kept[f"={column}"] = _scatter(records.get_column(column), mask, ids, work.frame.height)
        redacted[column] = redacted[column] | mask if column in redacted else mask
        records = records.with_columns(records.get_column(column).set(mask, None))
    names = [pl.when(mask).then(pl.lit(column)).alias(column) for column, mask in sorted(redacted.items())]
    flag = pl.lit(None, pl.String).alias("redacted")
    if names:
        said = records.select(pl.concat_str(names, separator=",", ignore_nulls=True).alias("redacted")).to_series()
        flag = said.set(said == "", None)  # type: ignore[assignment]  # a column either way
    for spec in fmt.of_class("window"):
        kept[spec.path] = work.frame.get_column(spec.path)
    for path, spelling in work.respelled.items():
        known = kept.get(path)
        kept[path] = spelling if known is None else known.zip_with(known.is_not_null(), spelling)
    fields = pl.DataFrame({ID: work.frame.get_column(ID)} | kept)
    return records.with_columns(flag), fields if whole else fields.filter(pl.col(ID).is_in(ids.implode()))


def _scatter(values: pl.Series, mask: pl.Series, ids: pl.Series, height: int) -> pl.Series:
    out = pl.Series([None], dtype=pl.String).new_from_index(0, height)
    return out.scatter(ids.filter(mask), values.filter(mask))


def _no_subjects() -> pl.DataFrame:
    return pl.DataFrame(schema={ID: pl.UInt32, "role": pl.String, "kind": pl.String, "value": pl.String})


__all__ = ["ID", "INDEX", "ROW", "TIME", "Rules", "Split", "split"]
