"""Laws over every declared format: somebody is found in every record, and no value of any field ends a batch."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from transform_kit import Kit, landed, rows, subjects

from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Format, bare, parse
from lethe.schemas.errors import ConfigurationError
from lethe.streams.transform.decode.reshape import records

FOLDER = Path(__file__).parents[2] / "fixtures" / "formats"
FORMATS = [f for f in formats.builtin().values() if isinstance(f, Format)]
NOW = datetime(2026, 1, 15, tzinfo=UTC)

EXTREME_TEXTS: list[Any] = [
    "", " ", "0", "-0", "1e999999", "-1e999999", "1e-999999", "9e99", "NaN", "Infinity", "-Infinity", "sNaN123",
    "9" * 64, "9" * 400, "0." + "9" * 60, "1_000", "\u0661\u0662\u0663", "\u00b2", "\u2460", "x" * 5000,
    "%", "%00", "%ff%fe", "%" * 300, "\u202e\u200b", "\ufeff", "\U0001f600" * 50, "{", "[", "\ud7ff",
    '{"to":{}}', '{"to":["a@b.c",1,null]}',
]  # fmt: skip
EXTREME_TIMES: list[Any] = [
    "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+23:59", "2026-02-30T00:00:00Z", "2026/13/45 99:99:99",
    "Mon, 99 Xxx 99999 99:99:99 +9999", "Thu, 01 Jan 1970 00:00:00 -2400", "253402300800", "99999999999999999999",
    "-62135596801", "9999999999",
]  # fmt: skip
EXTREME_ADDRESSES: list[Any] = [
    "<" * 200, "sip:" * 100, "tel:;;;", "sip:@", "sip:;@;", "<sip:%00@x>", "::ffff:999.1.1.1", "[::1]:99999",
    "-1139627840", "99999999999999", "a@b@c", "@", '"@"@x', "x@" + "a." * 130,
    "x@\u00df\u0131\u0307." + "\u00e9" * 70, ",;,;", "a@b.c," * 400,
]  # fmt: skip
EXTREME_VALUES: list[Any] = [
    None, True, 0, -1, 1e308, -1e308, 1e-320, 2**63, -(2**63), 2**70, 10**300, [], {}, [[]], [{}], [None],
    {"a": {"b": {"c": []}}}, [[[[[[[[[[[[[[[["deep"]]]]]]]]]]]]]]]],
]  # fmt: skip
EXTREMES = EXTREME_TEXTS + EXTREME_TIMES + EXTREME_ADDRESSES + EXTREME_VALUES
RAW = [
    b"1e999999", b"-1e999999", b"1E400", b"0." + b"0" * 400 + b"1", b"9" * 400, b'"\\ud800"', b'"\\u0000"',
    b"[" * 300 + b"]" * 300, b'{"a":' * 300 + b"1" + b"}" * 300,
]  # fmt: skip


def sample(fmt: Format) -> dict[str, Any]:
    (file,) = [p for p in FOLDER.glob(f"{fmt.name}.*") if p.suffix in (".ndjson", ".csv", ".log")]
    line = file.read_bytes().splitlines()[0]
    if fmt.reshaped:
        first: dict[str, Any] = records(line, fmt)[0][1]
        return first
    record: dict[str, Any] = json.loads(line)
    inner = record.get(fmt.envelope or "")
    return dict(inner[0]) if isinstance(inner, list) else record


def written(fmt: Format, record: dict[str, Any]) -> bytes:
    if fmt.encoding == "csv":
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(["" if v is None else str(v) for v in record.values()])
        return line.getvalue().encode(errors="replace").replace(b"\n", b" ")
    if fmt.encoding == "combined":
        said = defaultdict(lambda: "-", {k: _quoted(v) for k, v in record.items()})
        return (
            '{address} {identity} {user} [{time}] "{method} {path} {protocol}" {status} {bytes} "{referer}" "{agent}"'
        ).format_map(said).encode(errors="replace").replace(b"\n", b" ")  # fmt: skip
    if fmt.encoding == "form":
        return urlencode(record, errors="replace").encode()
    for path in reversed(fmt.unwrap):
        record = {path: record}
    return json.dumps(record).encode()


def _quoted(value: Any) -> str:
    return "-" if value is None else str(value).replace("\\", "\\\\").replace('"', '\\"')


def put(record: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(record))
    node = found
    *parents, leaf = path.split(".")
    for name in parents:
        below = node.get(bare(name))
        if isinstance(below, list):
            below = below[0] if below and isinstance(below[0], dict) else None
        if not isinstance(below, dict):
            below = {}
            node[bare(name)] = [below] if name.endswith("]") else below
        node = below
    node[bare(leaf)] = value
    return found


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_no_value_of_any_field_ends_a_batch(fmt: Format) -> None:
    good = sample(fmt)
    values: list[bytes | None] = []
    for spec in fmt.fields:
        values += [written(fmt, put(good, spec.path, value)) for value in EXTREMES]
        if fmt.encoding == "json":
            marked = written(fmt, put(good, spec.path, "@@here@@"))
            values += [marked.replace(b'"@@here@@"', raw) for raw in RAW]
    neighbour = written(fmt, good)
    values = [neighbour, *values, neighbour]
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
