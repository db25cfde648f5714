"""The site's own numbers: the only thing that makes a party of a call a business."""

from __future__ import annotations

import json
import os
from datetime import UTC, date, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest
from transform_kit import Kit, rows, subjects

from lethe.operations.lines import Lines
from lethe.operations.sections.lines import LineSettings
from lethe.schemas.errors import ConfigurationError
from lethe.schemas.line import Line, parse_own_numbers

GOOD = """# our trunk
+4930555000-+4930555999 2026-01-01 2026-06-30
4930555000-4930555999 2026-07-01
24365
923111222333, 2026-02-01
"""


def day(text: str) -> int:
    return date.fromisoformat(text).toordinal() - date(1970, 1, 1).toordinal()


@pytest.mark.parametrize(
    ("digits", "when", "own"),
    [
        ("4930555000", "2026-01-01", True), ("4930555999", "2026-06-30", True), ("4930555999", "2026-12-31", True),
        ("4930555000", "2025-12-31", False), ("4930556000", "2026-03-01", False), ("493055500", "2026-03-01", False),
        ("49305550000", "2026-03-01", False), ("24365", "1999-01-01", True), ("024365", "2026-01-01", False),
        ("923111222333", "2026-01-31", False), ("923111222333", "2026-02-01", True), ("x", "2026-02-01", False),
    ],
)  # fmt: skip
def test_a_number_is_the_sites_own_from_a_day_to_a_day(digits: str, when: str, own: bool) -> None:
    assert parse_own_numbers(GOOD, "own.txt").has(digits, day(when)) is own


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("24365\n4930-49305", 2, "as many digits"), ("4939-4930", 1, "higher one"), ("ACME", 1, "in digits"),
        ("24365 2026-02-30", 1, "no such day"), ("24365 2026-03-01 2026-02-01", 1, "after the last"),
        ("4930000-4930999\n# between\n4930500", 3, "overlaps line 1"),
        ("4930000-4930999 2026-01-01 2026-01-31\n4930999 2026-01-31", 2, "overlaps line 1"),
        ("4930 - ", 1, "in digits"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_by_its_line(text: str, line: int, what: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_own_numbers(text, "own.txt")
    assert f"line {line}" in str(raised.value)
    assert what in str(raised.value)
    assert not any(word in str(raised.value) for word in ("24365", "49309", "ACME"))


def test_an_own_number_is_a_business_on_its_days_and_a_person_before() -> None:
    own = parse_own_numbers("+13125550162 2026-03-07", "own.txt")
    kit = Kit(now=datetime(2026, 12, 15, tzinfo=UTC), line=Line(own=own))
    values = [
        json.dumps(
            {"sid": "CA1", "direction": way, "from": "+447700900456", "to": "+13125550162", "status": "completed",
             "date_created": f"{day_of_week}, 0{at} Mar 2026 15:17:05 +0000"}
        ).encode()
        for way in ("inbound", "outbound-dial")
        for at, day_of_week in ((6, "Fri"), (7, "Sat"))
    ]  # fmt: skip
    split = kit.process(values, "twilio/call")
    people = subjects(split, kit.ring)
    assert [row["recipient"] for row in rows(split.metadata)] == [None, "13125550162"] * 2
    for at in range(4):
        assert ("caller", "msisdn", "447700900456") in people[at, None]
        assert (("callee", "msisdn", "13125550162") in people[at, None]) is (at % 2 == 0)


@pytest.mark.parametrize(
    ("zone", "at", "own"),
    [
        ("Asia/Karachi", "2026-03-06T18:59:59Z", False), ("Asia/Karachi", "2026-03-06T19:00:00Z", True),
        ("Asia/Karachi", "2026-03-07T18:59:59Z", True), ("Asia/Karachi", "2026-03-07T19:00:00Z", False),
        ("America/New_York", "2026-03-07T04:59:59Z", False), ("America/New_York", "2026-03-08T04:59:59Z", True),
        (None, "2026-03-06T23:59:59Z", False), (None, "2026-03-07T23:59:59Z", True),
    ],
)  # fmt: skip
def test_a_day_begins_where_the_line_is(zone: str | None, at: str, own: bool) -> None:
    line = Line(own=parse_own_numbers("+13125550162 2026-03-07 2026-03-07", "own.txt"), zone=zone)
    record = {"sid": "CA1", "direction": "inbound", "from": "+447700900456", "to": "+13125550162",
              "status": "completed", "date_created": format_datetime(datetime.fromisoformat(at))}  # fmt: skip
    kit = Kit(now=datetime(2026, 12, 15, tzinfo=UTC), line=line)
    split = kit.process([json.dumps(record).encode()], "twilio/call")
    (row,) = rows(split.metadata)
    assert (row["recipient"] == "13125550162") is own


def test_a_changed_file_is_read_again_and_a_torn_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, now = tmp_path / "own.txt", [0.0]
    file.write_text("24365\n")
    lines = Lines({"calls": LineSettings(own_numbers=file)}, lambda: now[0])

    def own(number: str) -> bool:
        now[0] += 10
        found = lines("calls~2").own
        return found is not None and found.has(number, 0)

    assert own("24365")
    assert not own("24366")
    file.write_text("24365\n24366\n")
    assert own("24366")
    file.write_text("24365\n243")
    os.utime(file, ns=(1, 1))
    file.write_text("24365-24\n")
    assert own("24366")
    assert "line 1" in caplog.text
    assert "24365" not in caplog.text
    file.unlink()
    assert own("24366")
    file.write_text("24367\n")
    assert own("24367")
    with pytest.raises(ConfigurationError, match=r"check that it is there|put it back"):
        Lines({"calls": LineSettings(own_numbers=tmp_path / "none.txt")}, lambda: 0.0)
