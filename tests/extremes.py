"""Values that no field expects, put into each field of a format's own sample record."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from written_lines import log_line

from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Format, bare
from lethe.streams.transform.decode.reshape import records

FOLDER = Path(__file__).parent / "fixtures" / "formats"
FORMATS = [f for f in formats.builtin().values() if isinstance(f, Format)]

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
    if fmt.encoding == "lines":
        return log_line(fmt, {name: "" if v is None else str(v) for name, v in record.items()})
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


def extremes(fmt: Format) -> list[bytes]:
    """Records of a format: a good one, one for each extreme value in each field, and the good one again."""
    good = sample(fmt)
    values: list[bytes] = []
    for spec in fmt.fields:
        values += [written(fmt, put(good, spec.path, value)) for value in EXTREMES]
        if fmt.encoding == "json":
            marked = written(fmt, put(good, spec.path, "@@here@@"))
            values += [marked.replace(b'"@@here@@"', raw) for raw in RAW]
    neighbour = written(fmt, good)
    return [neighbour, *values, neighbour]
