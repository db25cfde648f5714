"""Local clocks: the zone of a source before the declaration's, hours shown twice or not at all, offsets as they are."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from transform_kit import Kit, rows

from lethe.operations.sections.lines import LineSettings
from lethe.schemas.declaration import format as formats
from lethe.schemas.line import Line
from lethe.schemas.sections import SectionError

NOW = datetime(2026, 11, 15, tzinfo=UTC)
DECLARED = """
name = "acme/calls"
version = 1
title = "calls"
channel = "voice"
direction = "outbound"

[[field]]
path = "to"
class = "subject"
role = "callee"
end_user = "always"

[[field]]
path = "at"
class = "archive"
type = "timestamp"
column = "event_time"
required = true
format = "{form}"
zone = "Asia/Karachi"
"""


def read(text: str, zone: str | None, form: str = "iso") -> str:
    fmt = formats.parse(DECLARED.format(form=form), "acme.toml")
    kit = Kit(now=NOW, scope="none", line=Line(zone=zone))
    value = f'{{"to":"923005550142","at":"{text}"}}'.encode()
    (row,) = rows(kit.process([value], fmt).metadata)
    return f"{row['event_time']:%Y-%m-%dT%H:%M:%S}"


@pytest.mark.parametrize(
    ("text", "zone", "utc"),
    [
        ("2026-06-01 12:00:00", None, "2026-06-01T07:00:00"),  # the declaration's: Karachi, UTC+5
        ("2026-06-01 12:00:00", "Europe/Berlin", "2026-06-01T10:00:00"),
        ("2026-01-10 12:00:00", "Europe/Berlin", "2026-01-10T11:00:00"),
        ("2026-06-01T12:00:00+03:00", "Europe/Berlin", "2026-06-01T09:00:00"),
        ("2026-06-01T12:00:00Z", "Europe/Berlin", "2026-06-01T12:00:00"),
        # shown twice: the first; the hours around are one each
        ("2026-10-25 01:59:59", "Europe/Berlin", "2026-10-24T23:59:59"),
        ("2026-10-25 02:00:00", "Europe/Berlin", "2026-10-25T00:00:00"),
        ("2026-10-25 02:30:00", "Europe/Berlin", "2026-10-25T00:30:00"),
        ("2026-10-25 03:00:00", "Europe/Berlin", "2026-10-25T02:00:00"),
        # left out: counted on from before the change
        ("2026-03-29 01:59:59", "Europe/Berlin", "2026-03-29T00:59:59"),
        ("2026-03-29 02:30:00", "Europe/Berlin", "2026-03-29T01:30:00"),
        ("2026-03-29 03:30:00", "Europe/Berlin", "2026-03-29T01:30:00"),
    ],
)
def test_a_local_time_is_read_by_the_clock_of_the_source(text: str, zone: str | None, utc: str) -> None:
    assert read(text, zone) == utc


def test_other_spellings_of_local_times_know_the_zone_too() -> None:
    assert read("2606011200", "Europe/Berlin", "yymmddhhmm") == "2026-06-01T10:00:00"
    assert read("Mon, 01 Jun 2026 12:00:00", "Europe/Berlin", "rfc2822") == "2026-06-01T10:00:00"
    assert read("Mon, 01 Jun 2026 12:00:00 -0000", "Europe/Berlin", "rfc2822") == "2026-06-01T12:00:00"
    assert read("1780315200", "Europe/Berlin", "epoch_s") == "2026-06-01T12:00:00"


def test_a_zone_nobody_knows_is_refused() -> None:
    with pytest.raises(SectionError, match="IANA name"):
        LineSettings(zone="Mars/Olympus")
