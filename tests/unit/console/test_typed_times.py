"""Times that somebody types: in UTC unless they say otherwise, and none that no record has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from lethe.console.cli.shell import moment
from lethe.schemas.retention.calendar import Month, instant, window_end


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+00:01", "9999-12-31", "9999-12-31T23:59:59-00:01", "1899-12-31"]
)
def test_a_time_that_no_record_has_is_wrong_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--since"):
        moment(text, "--since")


def test_a_time_is_in_utc_unless_it_says_otherwise() -> None:
    assert moment("2026-10-01", "DATE") == datetime(2026, 10, 1, tzinfo=UTC)
    assert moment("2026-10-01T03:00:00+05:00", "DATE") == datetime(2026, 9, 30, 22, tzinfo=UTC)


@given(st.datetimes(timezones=st.timezones() | st.none()))
def test_whatever_is_taken_has_a_month_and_an_end(typed: datetime) -> None:
    try:
        taken = instant(typed)
    except ValueError:
        assert not 1900 <= typed.year < 3000
        return
    assert window_end(Month.of(taken - timedelta(microseconds=1)), 120) > taken
