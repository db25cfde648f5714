"""Times that say no year get it from the day up to which a file was received, or the file is refused."""

from __future__ import annotations

import os
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

sys.path.append(str(Path(__file__).parents[1] / "retention"))

from retention_world import World

from lethe.console.cli.main import app
from lethe.operations.intake import trial
from lethe.operations.intake.ingest import ingest
from lethe.operations.intake.received import day_received, received
from lethe.operations.intake.undo import before_undo
from lethe.operations.proof.originals import Compared, compare_originals
from lethe.schemas.declaration import format as formats
from lethe.schemas.errors import InputError
from lethe.streams.transform.split.yearless import with_year

NAME = "postfix/mail-log"
LINE = (
    "{} mx1 postfix/smtp[1234]: 4XyZ1A2b3C: to=<jane.doe@example.org>, relay=mx.example.org[192.0.2.7]:25, "
    "delay=1.2, delays=0.1/0/0.5/0.6, dsn=2.0.0, status=sent (250 2.0.0 Ok)"
)


def log(folder: Path, *times: str, written: datetime, name: str = "mail.log") -> str:
    path = folder / name
    path.write_text("".join(LINE.format(time) + "\n" for time in times))
    os.utime(path, (written.timestamp(), written.timestamp()))
    return str(path)


def taken(one: World, path: str, **more: Any) -> list[str]:
    ingest(one.runtime, path, NAME, as_declared=True, **more)
    return [f"{row['event_time']:%Y-%m-%d}" for row in one.rows("metadata")]


def test_a_log_as_old_as_it_was_written_last_says_its_year_itself(tmp_path: Path) -> None:
    one = World(tmp_path)
    path = log(tmp_path, "Dec 30 09:00:00", "Jan  2 10:00:00", written=datetime(2024, 1, 2, 11, tzinfo=UTC))
    assert taken(one, path) == ["2023-12-30", "2024-01-02"]


def test_a_copy_made_years_later_is_refused_until_the_day_is_told(tmp_path: Path) -> None:
    one = World(tmp_path)
    path = log(tmp_path, "Mar  2 09:00:00", "Mar  3 10:00:00", written=datetime(2025, 9, 9, tzinfo=UTC))
    with pytest.raises(
        InputError, match=r"cannot be known: the last record is of 03 March.*--received"
    ) as why:
        taken(one, path)
    assert "jane" not in str(why.value)
    assert one.runtime.warehouse.metadata.version == 0
    assert taken(one, path, day_received=date(2022, 3, 3)) == ["2022-03-02", "2022-03-03"]


def test_nearly_a_year_later_a_record_is_still_what_its_original_says(tmp_path: Path) -> None:
    """Read with the clock of that day, its line would be of a year later."""
    one = World(tmp_path, integrity={"scope": "all"})
    path = log(tmp_path, "Dec 30 09:00:00", "Jan  2 10:00:00", written=datetime(2025, 1, 2, 11, tzinfo=UTC))
    one.now = datetime(2025, 1, 2, 12, tzinfo=UTC)
    assert taken(one, path) == ["2024-12-30", "2025-01-02"]
    one.now = datetime(2025, 12, 31, 23, tzinfo=UTC)
    report = Compared()
    assert list(compare_originals(one.runtime, None, (None, None), report)) == []
    assert report.rows == 2
    one.now = datetime(2026, 1, 20, tzinfo=UTC)
    assert list(compare_originals(one.runtime, None, (None, None), report)) == []
    assert report.rows == 3


def test_lines_of_more_than_a_year_are_refused_however_the_day_is_known(tmp_path: Path) -> None:
    one = World(tmp_path)
    times = ("Nov 28 09:00:00", "Mar  3 10:00:00", "Nov 30 09:00:00")
    path = log(tmp_path, *times, written=datetime(2024, 11, 30, 10, tzinfo=UTC))
    for day in (None, date(2024, 11, 30)):
        with pytest.raises(InputError, match="more than one year up to 2024-11-30"):
            taken(one, path, day_received=day)
    assert one.runtime.warehouse.metadata.version == 0


def test_logs_of_some_servers_one_after_the_other_are_of_their_year(tmp_path: Path) -> None:
    times = ("Mar  1 09:00:00", "Mar  9 10:00:00", "Mar  1 09:30:00", "Mar  9 10:30:00", "Feb 20 10:00:00")
    path = log(tmp_path, *times, written=datetime(2024, 3, 9, 12, tzinfo=UTC))
    assert {time[:4] for time in taken(World(tmp_path), path)} == {"2024"}


def test_what_was_begun_goes_on_under_the_same_day(tmp_path: Path) -> None:
    one = World(tmp_path)
    path = log(tmp_path, "Mar  3 10:00:00", written=datetime(2025, 9, 9, tzinfo=UTC))
    taken(one, path, day_received=date(2023, 3, 3))
    with pytest.raises(InputError, match=r"received up to 2023-03-03.*ingest undo"):
        taken(one, path, day_received=date(2024, 3, 3))
    again = ingest(one.runtime, path, NAME, as_declared=True)
    assert (again.already, again.received) == (1, date(2023, 3, 3))
    assert before_undo(one.runtime, path).records == 1


def test_what_is_quarantined_keeps_the_day_so_that_a_replay_reads_the_same_year(tmp_path: Path) -> None:
    one = World(tmp_path)
    (tmp_path / "odd.log").write_text("Mar  3 10:00:00 mx1 postfix/other[1]: 4XyZ: unheard of\n")
    good = LINE.format("Mar  3 10:00:00") + "\n"
    with (tmp_path / "odd.log").open("a") as file:
        file.write(good)
    taken(one, str(tmp_path / "odd.log"), day_received=date(2023, 3, 3))
    assert [row["received_time"] for row in one.rows("quarantine")] == [datetime(2023, 3, 3, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("day", "why"),
    [("soon", "is a day, such as"), ("2026-13-01", "is a day"), ("2999-01-01", "to come"), ("1850-01-01", "is a day")],
)  # fmt: skip
def test_a_day_that_is_none_or_to_come_is_refused(day: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        day_received(day, datetime(2026, 1, 15, tzinfo=UTC))


def test_a_format_whose_times_say_their_year_takes_no_day(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("{}\n")
    with pytest.raises(InputError, match="infobip/sms-report all say theirs"):
        ingest(
            World(tmp_path).runtime, str(tmp_path / "x"), "infobip/sms-report", day_received=date(2024, 1, 1)
        )


def test_iso_times_in_the_same_format_need_no_day(tmp_path: Path) -> None:
    path = log(tmp_path, "2021-03-03T10:00:00+00:00", written=datetime(2025, 9, 9, tzinfo=UTC))
    assert taken(World(tmp_path), path) == ["2021-03-03"]


@given(
    first=st.datetimes(datetime(2015, 1, 1), datetime(2024, 1, 1)),
    steps=st.lists(st.timedeltas(timedelta(0), timedelta(days=12)), max_size=25),
    late=st.timedeltas(timedelta(0), timedelta(days=1)),
    told=st.booleans(),
)
def test_every_log_of_less_than_a_year_gets_its_years_back(
    first: datetime, steps: list[timedelta], late: timedelta, told: bool
) -> None:
    times = [first.replace(microsecond=0)]
    for step in steps:
        times.append((times[-1] + step).replace(microsecond=0))
    end = times[-1]
    values: list[bytes | None] = [
        LINE.format(f"{t:%b} {t.day:2d} {t:%H:%M:%S}").encode()
        for t in times
        if end - t < timedelta(days=363)
    ]
    fmt = formats.get(NAME)
    assert isinstance(fmt, formats.Format)
    found = received(
        "-", fmt, lambda: [trial._batch(values, fmt, -1)], end.date() if told else None,
        (end + late).replace(tzinfo=UTC),
    )  # fmt: skip
    assert found is not None
    assert found.told is told
    back = [with_year(v.decode()[:15], found.up_to) for v in values if v is not None]
    assert back == [t.isoformat() for t in times[-len(values) :]]


def test_the_trial_says_which_years_it_takes(tmp_path: Path) -> None:
    path = log(tmp_path, "Mar  3 10:00:00", written=datetime(2022, 9, 9, tzinfo=UTC))
    refused = CliRunner().invoke(app, ["formats", "try", NAME, path])
    assert refused.exit_code == 1
    assert "--received" in str(refused.exception)
    done = CliRunner().invoke(app, ["formats", "try", NAME, path, "--received", "2023-03-03"])
    assert done.exit_code == 0, done.output
    assert "up to 2023-03-03, as --received says" in done.output
    assert "2023-03-03T10:00:00" in done.output


def test_a_whole_ingest_by_the_command_line(tmp_path: Path) -> None:
    config = tmp_path / "lethe.toml"
    config.write_text(f'root = "{tmp_path / "w"}"\nkeys_dir = "{tmp_path / "keys"}"\n')
    path = log(tmp_path, "Mar  3 10:00:00", written=datetime(2022, 9, 9, tzinfo=UTC))
    order = ["--config", str(config), "ingest", path, "--format", NAME, "--received", "2022-03-03"]
    done = CliRunner().invoke(app, order)
    assert done.exit_code == 0, done.output
    assert "2022-03-03" in done.output
