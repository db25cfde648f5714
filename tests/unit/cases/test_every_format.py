"""Laws over every declared format: somebody is found in every record, and no value of any field ends a batch."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from extremes import FORMATS, extremes, put, sample, written
from transform_kit import Kit, landed, rows, subjects

from lethe.schemas.declaration.format import Format, parse
from lethe.schemas.errors import ConfigurationError

NOW = datetime(2026, 1, 15, tzinfo=UTC)


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_no_value_of_any_field_ends_a_batch(fmt: Format) -> None:
    values = extremes(fmt)
    kit = Kit(now=NOW, window_months=36, scope="all")
    split = kit.process(values, fmt)
    counts = split.counts
    assert counts.records == counts.split + counts.late + counts.rejected + counts.tombstones >= len(values)
    found = {row["offset"]: row for row in landed(split, kit.ring)}
    for at in (0, len(values) - 1):
        assert at in found, "a good record stands where it stood"
    assert {k: v for k, v in found[0].items() if k not in ("offset", "integrity_hash")} == {
        k: v for k, v in found[len(values) - 1].items() if k not in ("offset", "integrity_hash")
    }


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_a_record_with_a_number_in_a_party_field_names_somebody_or_is_refused(fmt: Format) -> None:
    good, number = sample(fmt), "+923005550142"
    condition_words = {
        spec.path: [word.replace("*", "x") for word in spec.values or ()]
        for spec in fmt.archive
        if spec.values and spec.column in ("direction", "channel")
    }
    samples = [good]
    for path, words in condition_words.items():
        samples += [put(record, path, word) for record in list(samples) for word in words]
    for spec in fmt.subjects:
        samples = [
            put(record, spec.path, [number] if spec.path.endswith("[]") else number) for record in samples
        ]
    kit = Kit(now=NOW, window_months=36)
    split = kit.process([written(fmt, record) for record in samples], fmt)
    people = subjects(split, kit.ring)
    for row in landed(split, kit.ring):
        if fmt.data == "usage" and not any(s.kind == "auto" for s in fmt.subjects):
            continue
        named = {(kind, value) for _, kind, value in people.get((row["offset"], row["index"]), set())}
        assert ("msisdn", number[1:]) in named
    # One value of lists may hold several records.
    assert split.counts.split + split.counts.rejected >= len(samples)
    assert fmt.each or split.counts.records == len(samples)


LEG = """
name = "test/leg"
version = 1
title = "t"
channel = "voice"
[[field]]
path = "from"
class = "subject"
role = "caller"
business = "sender"
end_user = {end_user}
[[field]]
path = "direction"
class = "archive"
type = "enum"
column = "direction"
required = true
[[field]]
path = "at"
class = "archive"
type = "timestamp"
column = "event_time"
{zone}
required = true
"""


def test_a_declaration_that_infers_a_business_from_a_direction_is_refused() -> None:
    for condition in ['is_not = ["outbound"]', 'is = ["inbound"]', 'matches = "in.*"']:
        text = LEG.replace("{end_user}", f'{{ field = "direction", {condition} }}').replace("{zone}", "")
        with pytest.raises(ConfigurationError, match=r"from.*unless_own"):
            parse(text, "leg.toml")
    assert parse(LEG.replace("{end_user}", '"unless_own"').replace("{zone}", ""), "leg.toml")


def test_a_local_clock_is_read_in_its_zone_and_an_unknown_zone_is_refused() -> None:
    text = LEG.replace("{end_user}", '"unless_own"')
    with pytest.raises(ConfigurationError, match=r"at: .*zone"):
        parse(text.replace("{zone}", 'zone = "Mars/Base"'), "leg.toml")
    fmt = parse(text.replace("{zone}", 'zone = "Europe/Berlin"'), "leg.toml")
    times = ["2026-01-10 12:00:00", "2026-07-10 12:00:00", "2026-10-25 02:30:00", "2026-03-29 02:30:00",
             "2026-07-10 12:00:00+05:00"]  # fmt: skip
    records: list[bytes | None] = [
        json.dumps({"from": "+923005550142", "direction": "inbound", "at": at}).encode() for at in times
    ]
    split = Kit(now=datetime(2026, 12, 1, tzinfo=UTC)).process(records, fmt)
    found = [row["event_time"].strftime("%m-%d %H:%M") for row in rows(split.metadata)]
    # Twice: the first one. Left out: counted from before the change.
    assert found == ["01-10 11:00", "07-10 10:00", "10-25 00:30", "03-29 01:30", "07-10 07:00"]
