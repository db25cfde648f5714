"""Where a record belongs: country, month, window, whether it is late and whether it is in integrity scope."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from schemas.geography import country_of_mcc, country_of_prefix
from schemas.retention import Month, first_open_month
from streams.batch import Reason
from streams.work import ID, Rules, Work


def place(
    work: Work, records: pl.DataFrame, people: pl.DataFrame, rules: Rules, now: datetime
) -> pl.DataFrame:
    """Add country, month, window_months, late and in_scope; refuse what lies in the future or is too old."""
    records, countries = _countries(records, people)
    when = records.get_column("event_time")
    if when.null_count():
        work.refuse(when.is_null(), Reason.MISSING, "event_time")
    work.refuse(when > now + rules.future, Reason.FUTURE)
    text = when.dt.strftime("%Y-%m") if records.height else pl.Series([], dtype=pl.String)
    months = {m: Month.parse(m) for m in text.unique().drop_nulls()}
    policy = rules.retention
    records = records.with_columns(text.alias("month"))
    if policy.countries:
        lengths = {c: policy.window_of(c) for c in countries.get_column("country").unique()}
        windows = countries.select(ID, w=pl.col("country").replace_strict(lengths, return_dtype=pl.Int32))
        shortest = windows.group_by(ID).agg(pl.col("w").min())
        records = (
            records.join(shortest, on=ID, how="left", maintain_order="left")
            .with_columns(pl.col("w").fill_null(policy.window_months).alias("window_months"))
            .drop("w")
        )
    else:
        records = records.with_columns(pl.lit(policy.window_months, pl.Int32).alias("window_months"))
    late = pl.lit(False)
    for window in policy.windows():
        first_open = str(first_open_month(now, window))
        late = late | ((pl.col("window_months") == window) & (pl.col("month") < first_open))
    old = [name for name, month in months.items() if policy.archive_ended(month.year, None, now)]
    if old:
        work.refuse(text.is_in(old), Reason.TOO_OLD)
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
    first = by_number.unique(ID, keep="first", maintain_order=True)
    records = records.join(first, on=ID, how="left", maintain_order="left")
    if "mcc" in records.columns:
        codes = records.get_column("mcc").unique().drop_nulls()
        network = pl.col("mcc").replace_strict(
            codes, pl.Series([country_of_mcc(c) for c in codes], dtype=pl.String), default=None,
            return_dtype=pl.String,
        )  # fmt: skip
        every = pl.concat([by_number, records.select(ID, country=network).drop_nulls()])
        records = records.with_columns(country=pl.coalesce("country", network))
    return records, every
