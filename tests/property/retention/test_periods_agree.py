"""What a policy says, ingestion and expiry do and `policy explain` explains: to the microsecond, for every class."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.operations.retention.policy import explained
from lethe.schemas.retention.calendar import Month
from lethe.schemas.retention.data_class import TERMS, DataClass
from lethe.schemas.retention.policy import CountryPeriod, RetentionPolicy
from lethe.streams.transform.batch import Reason
from lethe.streams.transform.split._collected import Rejections
from lethe.streams.transform.split.classify import classify, classify_usage
from lethe.streams.transform.split.rules import ID, Rules
from lethe.tiers.retention.archive_expiry import ended

MICROSECOND = timedelta(microseconds=1)
NUMBERS = {
    "PK": "923001234567",
    "DE": "4915112345678",
    "AT": "436601234567",
    "FR": "33612345678",
    None: "999",
}
NETWORKS = {"PK": "410", "DE": "262", "GB": "234", None: None}
USUAL = TERMS[DataClass.USAGE].default
LONGEST = {DataClass.IDENTIFIERS: 60, DataClass.ARCHIVE: 30}

LENGTHS = {
    # None of usage data's: its keys are its own.
    DataClass.IDENTIFIERS: st.integers(1, 60).filter(lambda months: months != USUAL),
    DataClass.ARCHIVE: st.integers(1, 30),
}


@st.composite
def policies(draw: st.DrawFn) -> RetentionPolicy:
    periods = []
    for country in draw(st.lists(st.sampled_from(["PK", "DE", "AT", "GB"]), unique=True)):
        floors, ceilings = {}, {}
        for of in LONGEST:
            low, high = sorted(draw(st.tuples(LENGTHS[of], LENGTHS[of])))
            if draw(st.booleans()):
                floors[of] = low
            if draw(st.booleans()):
                ceilings[of] = high
        periods.append(
            CountryPeriod(country=country, at_least=floors, at_most=ceilings, reason="a law of theirs")
        )
    return RetentionPolicy(
        window_months=draw(LENGTHS[DataClass.IDENTIFIERS]),
        archive_years=draw(st.integers(1, 30)),
        countries=periods,
    )


def by_hand(policy: RetentionPolicy, of: DataClass, countries: set[str | None]) -> int:
    """Decide independently: shortest promise first, then the longest law on top."""
    lengths = [policy.window_months if of is DataClass.IDENTIFIERS else policy.archive_years]
    lengths += [c.at_most[of] for c in policy.countries if c.country in countries and of in c.at_most]
    floors = [c.at_least[of] for c in policy.countries if c.country in countries and of in c.at_least]
    return max([min(lengths), *floors])


def taken_in(
    policy: RetentionPolicy, when: datetime, now: datetime, parties: list[str | None], mcc: str | None
):
    """Classify one record among others: (window, late, too old)."""
    others = 3
    height = others + 1
    records = pl.DataFrame(
        {
            ID: pl.Series(range(height), dtype=pl.UInt32),
            "event_time": pl.Series([when] * height, dtype=pl.Datetime("us", "UTC")),
            "mcc": pl.Series([*["234"] * others, mcc], dtype=pl.String),
        }
    )
    people = pl.DataFrame(
        {
            ID: pl.Series([others] * len(parties), dtype=pl.UInt32),
            "kind": pl.Series(["msisdn"] * len(parties), dtype=pl.String),
            "value": pl.Series([NUMBERS[p] for p in parties], dtype=pl.String),
        }
    )
    rejections = Rejections()
    rules = Rules(policy, "none", timedelta(days=40_000))
    found = classify(records, people, rules, now, rejections).row(others, named=True)
    too_old = any(rows[others] and reason == Reason.TOO_OLD for rows, reason, _ in rejections.found)
    return found["window_months"], found["late"], too_old


@settings(deadline=None)
@given(
    policies(),
    st.datetimes(datetime(1991, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC)),
    st.lists(st.sampled_from([*NUMBERS]), max_size=3),
    st.sampled_from([*NETWORKS]),
)
def test_ingestion_and_explanation_say_the_same_to_the_microsecond(
    policy: RetentionPolicy, when: datetime, parties: list[str | None], network: str | None
) -> None:
    countries = {*parties, network}
    month = Month.of(when)
    text = ",".join(sorted(c for c in countries if c is not None)) or "nobody@example.org"
    for of in LONGEST:
        period = policy.period(of, countries)
        assert period.length == by_hand(policy, of, countries)
        end = TERMS[of].ends(month, period.length)
        for now in (end - MICROSECOND, end):
            over = now >= end
            said = explained(policy, text, when, now).of(of)
            assert (said.kept, said.kept_until, said.length) == (not over, end, period.length)
            assert said.rule == (period.rule or "default")
            window, late, too_old = taken_in(policy, when, now, parties, NETWORKS[network])
            if of is DataClass.IDENTIFIERS:
                assert (window, late) == (period.length, over)
            else:
                assert too_old is over


@settings(deadline=None)
@given(
    policies(),
    st.integers(1995, 2050),
    st.lists(st.sampled_from(["PK", "DE", "AT", "FR"]), max_size=3, unique=True),
)
def test_expiry_says_the_same_to_the_microsecond(
    policy: RetentionPolicy, year: int, countries: list[str]
) -> None:
    import pyarrow as pa

    month = Month(year, 6)
    end = policy.period(DataClass.ARCHIVE, countries).ends(month)
    several = ",".join(countries) if len(countries) > 1 else None
    for now in (end - MICROSECOND, end):
        found = ended(policy, month, now)
        row = pa.table(
            {
                "country": pa.array(countries[:1] or [None], pa.string()),
                "countries": pa.array([several], pa.string()),
            }
        )
        stays = found is None or (found.stays(row)[0].as_py() and not found.whole)
        assert stays is (now < end)


def test_a_longer_pakistani_archive_is_kept_at_ingest_and_a_foreign_network_does_not_cut_it() -> None:
    policy = RetentionPolicy(
        countries=[{"country": "PK", "window_months": 24, "archive_years": 12, "reason": "clause 9"}]
    )
    when, now = datetime(2014, 6, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    assert taken_in(policy, when, now, ["PK"], "234") == (24, True, False)
    assert taken_in(policy, when, now, ["FR"], "234") == (12, True, True)


@pytest.mark.parametrize(
    ("period", "said"),
    [
        ({"at_least": {"archive": 12}, "at_most": {"archive": 10}}, "at_least.archive of PK"),
        ({"at_least": {"archive": 101}}, "at_least.archive of PK: 0 to 100 years"),
        ({"at_most": {"identifiers": 0}}, "at_most.identifiers of PK: 1 to 120 months"),
        ({"at_least": {"identifiers": 24}, "window_months": 12}, "short form"),
        ({"at_least": {"archives": 12}}, "archives"),
    ],
)
def test_an_impossible_period_is_refused_by_name(period: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RetentionPolicy(countries=[{"country": "PK", "reason": "clause 9", **period}])


def test_a_row_says_its_countries_and_which_rule_it_was() -> None:
    policy = RetentionPolicy(
        countries=[
            {"country": "PK", "at_least": {"archive": 12}, "reason": "clause 9"},
            {"country": "DE", "at_most": {"identifiers": 6}, "reason": "agreed"},
        ]
    )
    records = pl.DataFrame(
        {
            ID: pl.Series([0, 1, 2], dtype=pl.UInt32),
            "event_time": pl.Series([datetime(2026, 1, 1, tzinfo=UTC)] * 3, dtype=pl.Datetime("us", "UTC")),
            "mcc": pl.Series(["262", "234", None], dtype=pl.String),
        }
    )
    people = pl.DataFrame(
        {
            ID: pl.Series([0, 1], dtype=pl.UInt32),
            "kind": ["msisdn", "msisdn"],
            "value": [NUMBERS["PK"], "447700900123"],
        }
    )
    rules = Rules(policy, "none", timedelta(days=1))
    found = classify(records, people, rules, datetime(2026, 9, 1, tzinfo=UTC), Rejections())
    assert found.select("country", "countries", "window_months", "late", "retention_rule").rows() == [
        ("PK", "PK,DE", 6, True, "identifiers DE<=6, archive PK>=12"),
        ("GB", None, 12, False, None),
        (None, None, 12, False, None),
    ]


@settings(deadline=None)
@given(policies(), st.datetimes(datetime(1991, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC)))
def test_usage_data_is_as_old_as_three_years_and_no_older(policy: RetentionPolicy, when: datetime) -> None:
    month = Month.of(when)
    end = month.plus(36).start()
    assert end <= month.start().replace(year=month.year + 3), "nothing is older than three years"
    records = pl.DataFrame(
        {
            ID: pl.Series([0], dtype=pl.UInt32),
            "event_time": pl.Series([when], dtype=pl.Datetime("us", "UTC")),
        }
    )
    people = pl.DataFrame(schema={ID: pl.UInt32, "kind": pl.String, "value": pl.String})
    for now in (end - MICROSECOND, end):
        rejections = Rejections()
        rules = Rules(policy, "none", timedelta(days=40_000))
        (window,) = classify_usage(records, people, rules, now, rejections).get_column("window_months")
        assert window == USUAL
        assert [reason for _, reason, _ in rejections.found] == [Reason.TOO_OLD] * (now >= end)
        said = explained(policy, "PK", when, now).of(DataClass.USAGE)
        assert (said.kept, said.kept_until, said.length) == (now < end, end, USUAL)
