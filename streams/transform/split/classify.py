"""Where a record belongs: country, month, window, whether it is late and whether it is in integrity scope.

Countries and months are few: rows carry a number that stands for one (-1: none), and rules are worked out once for
each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from lethe.schemas.retention.calendar import Month
from lethe.schemas.retention.data_class import DataClass
from lethe.schemas.retention.policy import Period
from lethe.schemas.site.residence import Residence
from lethe.schemas.subjects.addresses import Subject
from lethe.schemas.subjects.geography import country_of_mcc, country_of_prefix
from lethe.streams.transform.batch import Reason
from lethe.streams.transform.split._collected import Rejections
from lethe.streams.transform.split.rules import ID, Rules

Codes = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PREFIX: Final = 4


@dataclass(frozen=True, slots=True)
class _Countries:
    """`names`: those that occur. Of each person with a known country its record and country; of each record's network
    its country.
    """

    names: list[str]
    records: Codes
    persons: Codes
    networks: Codes


def classify(
    records: pl.DataFrame,
    people: pl.DataFrame,
    rules: Rules,
    now: datetime,
    rejections: Rejections,
    accounts: pl.Series | None = None,
) -> pl.DataFrame:
    """Add countries, month, periods and scope to each record; reject what lies in the future or is too old.

    `records` are all rows of the decoded frame, so that `ID` is a row's number. `accounts`: the accounts as they were
    written, those too that the archive shows by a stand-in.
    """
    policy = rules.retention
    countries = _countries(records, people, rules, accounts)
    months, month = _months(records.get_column("event_time"), now + rules.future, rejections)
    sets, of_set = _sets(countries, records.height)
    in_window = [policy.period(DataClass.IDENTIFIERS, among) for among in sets]
    in_archive = [policy.period(DataClass.ARCHIVE, among) for among in sets]
    late = np.zeros(records.height, np.bool_)
    for at, one in enumerate(months):
        over = np.array([period.ends(one) <= now for period in in_window])
        gone = np.array([period.ends(one) <= now for period in in_archive])
        if over.any():
            late |= (month == at) & over[of_set]
        if gone.any():
            rejections.add(pl.Series((month == at) & gone[of_set]), Reason.TOO_OLD)
    windows = np.array([period.length for period in in_window])[of_set]
    return records.hstack(
        [
            _named(countries.names, _of_records(countries, records.height)).alias("country"),
            _named([str(m) for m in months], month).alias("month"),
            pl.Series("window_months", windows, dtype=pl.Int32),
            pl.Series("late", late),
            _named([",".join(among) if len(among) > 1 else None for among in sets], of_set).alias(
                "countries"
            ),
            _named(list(map(_said, in_window, in_archive)), of_set).alias("retention_rule"),
            pl.Series("in_scope", _in_scope(countries, rules, records.height)),
        ]
    )


def classify_usage(
    records: pl.DataFrame,
    people: pl.DataFrame,
    rules: Rules,
    now: datetime,
    rejections: Rejections,
    accounts: pl.Series | None = None,
) -> pl.DataFrame:
    """Add what `classify` adds to records of usage data, but no country: none is kept anywhere beyond its period."""
    countries = _countries(records, people, rules, accounts)
    months, month = _months(records.get_column("event_time"), now + rules.future, rejections)
    sets, of_set = _sets(countries, records.height)
    periods = [rules.retention.period(DataClass.USAGE, among) for among in sets]
    for at, one in enumerate(months):
        over = np.array([period.ends(one) <= now for period in periods])
        if over.any():
            rejections.add(pl.Series((month == at) & over[of_set]), Reason.TOO_OLD)
    no = np.zeros(records.height, np.bool_)
    return records.hstack(
        [
            _named([str(m) for m in months], month).alias("month"),
            pl.Series("window_months", np.array([p.length for p in periods])[of_set], dtype=pl.Int32),
            pl.Series("late", no),
            pl.Series("in_scope", no),
        ]
    )


def _months(when: pl.Series, latest: datetime, rejections: Rejections) -> tuple[list[Month], Codes]:
    """Return the months that occur, with those between them, and each record's; -1 where there is no time."""
    missing = when.is_null() if when.null_count() else None
    if missing is not None:
        rejections.add(missing, Reason.MISSING, "event_time")
        when = when.fill_null(_EPOCH)
    micros = when.cast(pl.Int64).to_numpy()
    bound = (latest - _EPOCH) // timedelta(microseconds=1)
    if len(micros) and micros.max() > bound:
        rejections.add(pl.Series(micros > bound), Reason.FUTURE)
    # One month far away would make a table of all between.
    month = np.minimum(micros, bound).astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
    if missing is not None:
        month[missing.to_numpy()] = -1  # no time that is kept lies before 1990
    begun = month[month >= 0]
    if not len(begun):
        return [], np.full(len(month), -1, np.int64)
    first, last = int(begun.min()), int(begun.max())
    months = [Month(1970 + number // 12, number % 12 + 1) for number in range(first, last + 1)]
    return months, np.maximum(month - first, -1)


def _countries(
    records: pl.DataFrame, people: pl.DataFrame, rules: Rules, accounts: pl.Series | None
) -> _Countries:
    """Find the countries of end users by number or by the site's table, and of records by network."""
    if rules.residence is not None:
        return _by_table(records, people, rules.residence(), accounts)
    numbers = people.get_column("kind").to_arrow()
    coded = numbers.dictionary_encode()
    kinds = coded.dictionary.to_pylist()
    phones = people
    if kinds not in ([], ["msisdn"]):
        phones = people.filter(pl.col("kind") == "msisdn")
    names: dict[str, int] = {}
    persons = _coded(phones.get_column("value").str.slice(0, _PREFIX), country_of_prefix, names)
    who = phones.get_column(ID).to_numpy().astype(np.int64)
    known = persons >= 0
    networks = np.full(records.height, -1, np.int64)
    if "mcc" in records.columns:
        networks = _coded(records.get_column("mcc"), country_of_mcc, names)
    return _Countries(list(names), who[known], persons[known], networks)


def _by_table(
    records: pl.DataFrame, people: pl.DataFrame, residence: Residence, accounts: pl.Series | None
) -> _Countries:
    """Ask the site's table: of a subject, of its domain or address, of the record's account; and its number as ever."""
    names: dict[str, int] = {}
    kinds, values = people.get_column("kind"), people.get_column("value")
    persons = np.full(people.height, -1, np.int64)
    domain = values.str.split("@").list.last()
    for kind, texts, country in (
        ("msisdn", values.str.slice(0, _PREFIX), country_of_prefix),
        ("ip", values, residence.of_address),
        ("email", domain, residence.of_domain),
        ("sip", domain, residence.of_domain),
    ):
        if len(at := np.flatnonzero((kinds == kind).to_numpy())):
            persons[at] = _coded(texts[at], country, names)
    if residence.subjects:
        said = map(residence.subjects.get, map(Subject, kinds.to_list(), values.to_list()))
        own = np.array([-1 if c is None else names.setdefault(c, len(names)) for c in said], np.int64)
        persons = np.where(own >= 0, own, persons)
    who, known = people.get_column(ID).to_numpy().astype(np.int64), persons >= 0
    who, persons = who[known], persons[known]
    if residence.accounts and accounts is not None:
        of = _coded(accounts, residence.accounts.get, names)
        at = np.flatnonzero(of >= 0)  # behind the people: theirs come first
        who, persons = np.concatenate([who, at]), np.concatenate([persons, of[at]])
    networks = np.full(records.height, -1, np.int64)
    if "mcc" in records.columns:
        networks = _coded(records.get_column("mcc"), country_of_mcc, names)
    return _Countries(list(names), who, persons, networks)


def _coded(texts: pl.Series, country: Callable[[str], str | None], names: dict[str, int]) -> Codes:
    """Return the number of each text's country in `names`, which grows; -1 where there is none."""
    coded = texts.to_arrow().dictionary_encode()
    table = [
        -1 if name is None else names.setdefault(name, len(names))
        for name in map(country, coded.dictionary.to_pylist())
    ]
    indices = coded.indices.fill_null(len(table)).to_numpy()
    found: Codes = np.array([*table, -1], np.int64)[indices]
    return found


def _of_records(countries: _Countries, height: int) -> Codes:
    """Return the country of each record: of its first end user by number, else of its network."""
    found = np.full(height, -1, np.int64)
    found[countries.records[::-1]] = countries.persons[::-1]  # of equal places the last one written counts
    return np.where(found >= 0, found, countries.networks)


def _said(*periods: Period) -> str | None:
    """Say which rules of countries decided; None where the defaults stand."""
    return ", ".join(f"{p.data_class} {p.rule}" for p in periods if p.rule is not None) or None


def _sets(countries: _Countries, height: int) -> tuple[list[tuple[str, ...]], Codes]:
    """Return the sets of countries of which a record is, and which each record has: its `country` first.

    They are few, so that a period is decided once for each, by the policy itself.
    """
    first = _of_records(countries, height)
    width = len(countries.names) + 1
    sets: list[tuple[str, ...]] = [*((name,) for name in countries.names), ()]
    found = np.where(first < 0, width - 1, first)
    other = countries.persons != first[countries.records]
    abroad = (countries.networks >= 0) & (countries.networks != first)
    pairs = np.unique(
        np.concatenate([countries.records[other], np.flatnonzero(abroad)]) * width
        + np.concatenate([countries.persons[other], countries.networks[abroad]])
    )
    who, also = np.divmod(pairs, width)
    while len(who):  # once for most batches: a third country of one record is rare
        ahead = np.r_[True, who[1:] != who[:-1]]
        grown, of = np.unique(found[who[ahead]] * width + also[ahead], return_inverse=True)
        found[who[ahead]] = len(sets) + of
        sets += [(*sets[key // width], countries.names[key % width]) for key in grown.tolist()]
        who, also = who[~ahead], also[~ahead]
    return sets, found


def _in_scope(countries: _Countries, rules: Rules, height: int) -> Mask:
    if not isinstance(rules.scope, tuple):
        return np.full(height, rules.scope == "all")
    scoped = np.array([*(name in rules.scope for name in countries.names), False], np.bool_)
    found = scoped[countries.networks]
    found[countries.records[scoped[countries.persons]]] = True
    return found


def _named(names: Sequence[str | None], codes: Codes) -> pl.Series:
    table: Any = pl.Series([*names, None], dtype=pl.String)
    named: pl.Series = table[np.where(codes < 0, len(names), codes)]
    return named
