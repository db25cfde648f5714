"""A moment is itself however it is written, and stays in the month it is of; so does a duration."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from email.utils import format_datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lethe.streams.transform.split.columns import durations, money, parse_time, times

MOMENTS = st.one_of(
    st.datetimes(datetime(2001, 1, 1), datetime(2098, 12, 31)),
    # The first and last moments of months, where a second too much is another key.
    st.builds(
        lambda year, month, micros: datetime(year, month, 1) + timedelta(microseconds=micros),
        st.integers(2001, 2060),
        st.integers(1, 12),
        st.integers(-2, 2),
    ),
)


def nanos(moment: datetime) -> int:
    whole = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (whole.days * 86_400 + whole.seconds) * 10**9 + whole.microseconds * 1000


NAMES = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
FULL = "January February March April May June July August September October November December".split()
EXACT: dict[str, tuple[str, Callable[[datetime], str]]] = {
    "Z": ("iso", lambda m: m.isoformat() + "Z"),
    "offset": ("iso", lambda m: (m + timedelta(hours=5)).isoformat(" ") + "+0500"),
    "comma": ("iso", lambda m: m.isoformat(timespec="microseconds").replace(".", ",") + "Z"),
    "nanoseconds": ("iso", lambda m: m.isoformat(timespec="microseconds") + "999Z"),
    "slashes": ("iso", lambda m: m.isoformat(" ", "microseconds").replace("-", "/")),
    "ns": ("epoch_ns", lambda m: str(nanos(m) + 999)),
    "us": ("epoch_us", lambda m: str(nanos(m) // 1000)),
    "us with places": ("epoch_us", lambda m: f"{nanos(m) // 1000}.999"),
    "s with nine places": ("epoch_s", lambda m: str(Decimal(nanos(m) + 999).scaleb(-9))),
    "day first": ("dmy", lambda m: m.strftime("%d/%m/%Y %H:%M:%S.%f")),
    "month first": ("mdy", lambda m: m.strftime("%m/%d/%Y %I:%M:%S.%f %p")),
    "a month by name": ("dmy", lambda m: m.strftime(f"%d-{NAMES[m.month - 1]}-%Y %H:%M:%S.%f")),
    "a month in full": ("dmy", lambda m: m.strftime(f"%d {FULL[m.month - 1]} %Y, %I:%M:%S.%f %p")),
    "a month in capitals": ("mdy", lambda m: m.strftime(f"%d/{NAMES[m.month - 1].upper()}/%Y %H:%M:%S.%f")),
    "a month by name first": ("mdy", lambda m: m.strftime(f"{NAMES[m.month - 1]} %d, %Y %H:%M:%S.%f")),
    "a month first all the same": ("dmy", lambda m: m.strftime(f"{NAMES[m.month - 1]}-%d-%Y %H:%M:%S.%f")),
    "with an offset": ("dmy", lambda m: (m - timedelta(hours=3)).strftime("%d.%m.%Y, %H:%M:%S.%f-03:00")),
}


@pytest.mark.parametrize("how", EXACT)
@given(st.lists(MOMENTS, min_size=1, max_size=5))
def test_a_moment_is_itself_to_the_microsecond(how: str, moments: list[datetime]) -> None:
    form, write = EXACT[how]
    written = pl.Series([write(m) for m in moments])
    assert times(written, form).to_list() == [m.replace(tzinfo=UTC) for m in moments]
    assert [parse_time(t, form) for t in written] == [m.replace(tzinfo=UTC) for m in moments]


TO_THE_SECOND: dict[str, tuple[str, Callable[[datetime], str]]] = {
    "digits": ("yyyymmddhhmmss", lambda m: m.strftime("%Y%m%d%H%M%S")),
    "mail": ("rfc2822", lambda m: format_datetime(m.replace(tzinfo=timezone(timedelta(hours=0))))),
    "mail of a place": ("rfc2822", lambda m: format_datetime(m.replace(tzinfo=UTC)) + " (GMT)"),
    "half a day": ("mdy", lambda m: m.strftime("%m/%d/%y %I:%M:%S%p").lower()),
}


@pytest.mark.parametrize("how", TO_THE_SECOND)
@given(MOMENTS.filter(lambda m: m.year < 2060))
def test_a_moment_is_itself_to_the_second(how: str, moment: datetime) -> None:
    form, write = TO_THE_SECOND[how]
    assert parse_time(write(moment), form) == moment.replace(microsecond=0, tzinfo=UTC)


LEAPS = ["2016-12-31T23:59:60{}", "2015-06-30 23:59:60{}", "2016-12-31T23:59:60.000{}"]


@pytest.mark.parametrize("offset", ["Z", "+00:00", "+0000", " +0000", ""])
@pytest.mark.parametrize("leap", LEAPS)
def test_a_leap_second_stays_in_its_month_however_it_is_written_and_beside_whom(
    leap: str, offset: str
) -> None:
    text = leap.format(offset)
    for beside in ([], ["2016-12-31T22:00:00Z"], ["2016-12-31T22:00:00.123+0000"], ["2016-12-31 22:00:00"]):
        (found, *_) = times(pl.Series([text, *beside]), "iso").to_list()
        assert found == datetime.fromisoformat(f"{text[:10]}T23:59:59.999999+00:00")


@given(
    st.datetimes(datetime(2001, 1, 1), datetime(2090, 1, 1)), st.sampled_from(["Z", "+00:00", "+0000", ""])
)
def test_a_midnight_that_ends_a_day_begins_the_next(moment: datetime, offset: str) -> None:
    for end in ("24:00:00", "24:00", "24:00:00.000"):
        text = f"{moment.date()}T{end}{offset}"
        found = times(pl.Series([text, "2016-12-31T22:00:00.123+0000"]), "iso")[0]
        assert found == datetime.combine(moment.date(), datetime.min.time(), UTC) + timedelta(days=1)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("rfc2822", "Fri, 06 Mar 2026 15:17:05 PKT"), ("rfc2822", "Fri, 06 Mar 2026 15:17:05 CEST"),
        ("iso", "2026-03-06 15:17:05 PKT"), ("iso", "2026-03-06T24:01:00Z"),
        ("iso", "2026-03-06T24:00:00.001Z"), ("iso", "2026-03-06T10:20:60Z"),
        ("iso", "2026-03-06T10:20:60+0000"), ("mdy", "13/01/2026 10:00"), ("dmy", "9/1/2026 13:00 PM"),
        ("dmy", "2026-01-09 10:00"), ("dmy", "29-Feb-2025 10:00"), ("dmy", "9-Jänner-2026"), ("mdy", "Ma 9, 2026x"),
        ("dmy", "9-Fev-2026"), ("mdy", "Junk 9, 2026"), ("dmy", "30-Feb-2026 24:00"),
        ("yyyymmddhhmmss", "2026010921200"), ("epoch_ms", "1767950411"),
        ("epoch_s", "1767950411123"), ("epoch_us", "1767950411123"), ("epoch_ns", "1767950411123"),
    ],
)  # fmt: skip
def test_what_could_be_another_moment_is_none(form: str, text: str) -> None:
    assert times(pl.Series([text]), form).to_list() == [None]


@given(st.integers(0, 600_000_000))
def test_a_duration_is_itself_whatever_the_scale_of_plain_numbers(milliseconds: int) -> None:
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    written = [
        f"{hours:02}:{minutes:02}:{seconds:02}.{rest:03}", f"{hours}:{minutes}:{seconds},{rest:03}",
        f"PT{hours}H{minutes}M{seconds}.{rest:03}S", f"P0DT{hours * 60 + minutes}M{seconds}.{rest:03}S",
    ]  # fmt: skip
    for scale in ("1", "0.001", "60", "0.000000001"):
        assert durations(pl.Series(written), scale).to_list() == [milliseconds] * 4


@pytest.mark.parametrize(
    "text", ["P", "PT", "00:00:61", "-00:00:01", "9999:00:00", "1:2", "PT1H2", "12:00:00 PM"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    assert durations(pl.Series([text]), "1").to_list() == [None]


@given(st.integers(-(10**10) + 1, 10**10 - 1))
def test_a_price_in_billionths_is_read_up_to_ten(nanos: int) -> None:
    (found,) = money(pl.Series([str(nanos)]), "0.000000001").to_list()
    assert abs(found - Decimal(nanos).scaleb(-9)) <= Decimal("0.0000005")
