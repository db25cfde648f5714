"""Fuzz targets of the compiled code: `make fuzz`, or `python native_targets.py TARGET [libFuzzer options] [CORPUS…]`.

The extension is the real one, built with coverage and sanitizers (`built_native`), in this process. What it makes of
any bytes is compared with what the general way makes of them, and every buffer it is given ends where its memory ends.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha3_512, sha256
from itertools import pairwise
from random import Random
from typing import Any

import atheris
import built_native
import numpy as np

from lethe import _native as native
from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Format
from lethe.streams.transform.decode import compiled_reader
from lethe.streams.transform.decode.compiled_reader import _plan, read_plain
from lethe.streams.transform.decode.decode import decode
from lethe.streams.transform.decode.diagnose import tree
from lethe.streams.transform.decode.json_columns import joined

FORMATS = [f for f in formats.builtin().values() if isinstance(f, Format) and f.encoding == "json"]
PLANNED = [f for f in FORMATS if _plan(tree(f), f.envelope) is not None]
"""Those that compiled code reads; lists of many elements and wrapped values go the general way."""
READ = {f.name for f in PLANNED}
BETWEEN = b"\x1e"  # between the values of a batch
LARGEST = 1 << 16
VIEW, INLINED = 16, 12
Array = np.ndarray[Any, Any]


def exact(data: bytes) -> Array:
    """Copy bytes into memory of their size: whoever reads on meets a byte that is not to be read."""
    found = np.frombuffer(data, np.uint8).copy()
    found.flags.writeable = False
    return found


def records(data: bytes) -> None:
    """The first byte picks a format, the rest is a batch: with the compiled reader it is decoded as without."""
    if not data:
        return
    fmt, values = FORMATS[data[0] % len(FORMATS)], data[1:].split(BETWEEN)[:16]
    _alone_as_together([value for value in values if value], fmt)
    found = decode(list(values), fmt, LARGEST)
    reader, compiled_reader._reader = compiled_reader._reader, None
    try:
        expected = decode(list(values), fmt, LARGEST)
    finally:
        compiled_reader._reader = reader
    assert found.frame.schema == expected.frame.schema
    assert found.frame.equals(expected.frame)
    assert found.rejects == expected.rejects


def reader(data: bytes) -> None:
    """One value, read hundreds of times faster than the general way reads it: what is taken is what `json` says."""
    if not data:
        return
    fmt, value = PLANNED[data[0] % len(PLANNED)], data[1:]
    found = _read_alone(value, fmt.name)
    if found is None:
        return
    whole = json.loads(value.decode(), object_pairs_hook=_members, parse_int=_spelt, parse_float=_spelt)
    assert not fmt.envelope or fmt.envelope not in whole
    assert found == _leaves(whole, tree(fmt), "")


@cache
def _plan_of(name: str) -> compiled_reader._Plan:
    fmt = next(f for f in FORMATS if f.name == name)
    plan = _plan(tree(fmt), fmt.envelope)
    assert plan is not None
    return plan


def _read_alone(value: bytes, name: str) -> dict[str, str] | None:
    """Read a value from memory that ends where it ends; return its leaves, None where it is not taken."""
    plan = _plan_of(name)
    leaves = len(plan.leaves)
    taken, valid = np.zeros(1, np.bool_), np.zeros(leaves, np.uint8)
    views, codes = np.zeros(leaves * VIEW, np.uint8), np.zeros(leaves, np.uint32)
    firsts = np.zeros(leaves * native.MOST_DISTINCT, np.uint32)
    ends, arena = np.array([0, len(value)], np.int64), np.zeros(len(value), np.uint8)
    used, counts = native.read(
        plan.nodes, leaves, exact(value), ends, taken, arena, views, valid, codes, firsts
    )
    if not taken[0]:
        return None
    buffers, found = [value, arena.tobytes()[:used]], {}
    for at, path in enumerate(plan.leaves):
        text = _text(views.tobytes(), at, buffers, None, 0)
        assert counts[at] == valid[at]
        if valid[at]:
            assert isinstance(text, bytes)
            found[path] = text.decode()
    return found


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of names that come twice none is declared, and the first one counts."""
    return dict(reversed(pairs))


def _spelt(number: str) -> str:
    head, point, places = number.partition(".")
    return f"{head}.{places.rstrip('0') or '0'}" if point else number


def _leaves(value: Any, shape: dict[str, Any], prefix: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, below in shape.items():
        one = value.get(name.removesuffix("[]"))
        if one is None:
            continue
        assert not name.endswith("[]"), "lists are not taken"
        if below is not None:
            found |= _leaves(one, below, f"{prefix}{name}.")
        else:
            found[prefix + name] = ("false", "true")[one] if isinstance(one, bool) else one
    return found


def _alone_as_together(values: list[bytes], fmt: Format) -> None:
    """Whether a value is taken depends on nothing beyond its end."""
    read = read_plain(*joined(values), tree(fmt), fmt.envelope)
    assert (read is None) == (not values or fmt.name not in READ)
    if read is not None:
        assert [_read_alone(value, fmt.name) is not None for value in values] == read.taken.tolist()


def columns(data: bytes) -> None:
    """Any bytes are views and buffers: objects and times are those of the texts, or some view leads nowhere."""
    if len(data) < 4:
        return
    rows, first, nulls, size = data[0] % 24, data[1] % 9, data[2], data[3]
    rest = data[4:]
    texts, rest = rest[:size], rest[size:]
    bits, views = rest[: (first + rows + 7) // 8], rest[(first + rows + 7) // 8 :]
    count = min(3, len(views) // (VIEW * rows)) if rows else nulls % 4
    if len(bits) < (first + rows + 7) // 8:
        return
    buffers = [texts, texts[: size // 2]]
    described, read = [], []
    for at in range(count):
        own = views[at * rows * VIEW : (at + 1) * rows * VIEW]
        valid = bits if nulls >> at & 1 else None
        name = b'"n%d":' % at
        described.append(
            (name, None if valid is None else exact(valid), first, exact(own), [exact(b) for b in buffers])
        )
        read.append([_text(own, row, buffers, valid, first) for row in range(rows)])
    given = [texts[:row] if nulls >> (row % 8) & 1 and row % 5 == 4 else None for row in range(rows)]
    _objects(described, read, given)
    if described:
        _times(described[0], read[0])


def _text(
    views: bytes, row: int, buffers: list[bytes], valid: bytes | None, first: int
) -> bytes | str | None:
    """A row's text, None for null, "nowhere" for what a view cannot lead to."""
    if valid is not None and not valid[(first + row) >> 3] >> ((first + row) & 7) & 1:
        return None
    view = views[row * VIEW : (row + 1) * VIEW]
    length, buffer, offset = (int.from_bytes(view[at : at + 4], "little") for at in (0, 8, 12))
    if length <= INLINED:
        return view[4 : 4 + length]
    if buffer >= len(buffers) or offset + length > len(buffers[buffer]):
        return "nowhere"
    return buffers[buffer][offset : offset + length]


def _objects(described: list[Any], read: list[list[bytes | str | None]], given: list[bytes | None]) -> None:
    rows = [[column[row] for column in read] if given[row] is None else [] for row in range(len(given))]
    try:
        ends, data, valid, odd = native.objects(described, given)
    except ValueError:
        assert any("nowhere" in texts for texts in rows)
        return
    assert not any("nowhere" in texts for texts in rows)
    where = np.frombuffer(ends, np.int32).tolist()
    for row, texts in enumerate(rows):
        made = data[where[row] : where[row + 1]]
        members = [
            described[at][0] + b'"' + text + b'"' for at, text in enumerate(texts) if isinstance(text, bytes)
        ]
        expected = b"{" + b",".join(members) + b"}" if members else b""
        assert made == (given[row] if given[row] is not None else expected)
        assert valid[row >> 3] >> (row & 7) & 1 == bool(members or given[row] is not None)
        escapes = any(re.search(rb'[\x00-\x1f"\\\x7f]', text) for text in texts if isinstance(text, bytes))
        assert bool(odd and odd[row]) == escapes


_TIME = re.compile(
    rb"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):([0-5]\d)\.(\d{3})([+-])([01]\d|2[0-3])([0-5]\d)", re.ASCII
)


def _times(described: Any, read: list[bytes | str | None]) -> None:
    try:
        micros, valid = native.times(described, len(read))
    except ValueError:
        assert "nowhere" in read
        return
    assert "nowhere" not in read
    for row, (text, found) in enumerate(zip(read, np.frombuffer(micros, np.int64).tolist(), strict=True)):
        expected = _micros(text) if isinstance(text, bytes) else None
        assert valid[row >> 3] >> (row & 7) & 1 == (expected is not None)
        assert found == (expected or 0)


def _micros(text: bytes) -> int | None:
    parts = _TIME.fullmatch(text)
    if not parts:
        return None
    *numbers, sign, hours, minutes = (int(part) if part.isdigit() else part for part in parts.groups())
    zone = timedelta(hours=hours, minutes=minutes)
    try:
        moment = datetime(*numbers[:6], tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    except ValueError:
        return None
    moment += timedelta(milliseconds=numbers[6]) + (zone if sign == b"-" else -zone)
    return moment // timedelta(microseconds=1)


_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


def blocks(data: bytes) -> None:
    """Any texts, of subjects and of message ids, have the blocks that they should have; so have they put together."""
    texts = data.split(BETWEEN)
    whole = b"".join(texts)
    ends = np.cumsum([len(data), *map(len, texts)], dtype=np.int64)
    codes = bytes(1 + at % 6 for at in range(len(texts)))
    made, plain = native.blocks(exact(whole), ends, exact(codes))
    for at, text in enumerate(texts):
        fits = 1 <= len(text) <= 15 and b"\0" not in text
        assert plain[at] == fits
        assert made[16 * at : 16 * at + 16] == (codes[at : at + 1] + text if fits else b"").ljust(16, b"\0")
    made, plain = native.blocks(exact(whole), ends)
    for at, text in enumerate(texts):
        fits = bool(_UUID.fullmatch(text))
        assert plain[at] == fits
        expected = bytes.fromhex(text.replace(b"-", b"").decode()) if fits else bytes(16)
        assert made[16 * at : 16 * at + 16] == expected
    room = np.zeros(len(texts) + 1, np.int64)
    assert native.joined(texts, room, 0, sys.maxsize) == whole
    assert (room + len(data)).tolist() == ends.tolist()


def rows(data: bytes) -> None:
    """Any texts and numbers, any of them null, have the form of rows and the hashes that they should have."""
    draw, texts = Random(data), data.split(BETWEEN)
    count = draw.randrange(1, 200)
    numbers = bytes(draw.randrange(256) for _ in range(8 * count))
    codes = [draw.randrange(len(texts)) for _ in range(count)]
    there = [bytes(draw.randrange(256) for _ in range((count + 7) // 8)) for _ in range(2)]
    if draw.random() < 0.1:
        codes[draw.randrange(count)] = draw.choice((-1, len(texts), 2**31 - 1))
    ends = np.cumsum([0, *map(len, texts)], dtype=np.int32)
    fields = [
        (3, 8, exact(numbers), None, None, exact(there[0]), 0),
        (7, 0, exact(b"".join(texts)), ends, np.array(codes, np.int32), exact(there[1]), 0),
        (9, 1, exact(numbers[:count]), None, None, None, 0),
    ]
    expected = []
    for row in range(count):
        valid = [bits[row >> 3] >> (row & 7) & 1 for bits in there]
        made = b"\x01" + (b"\x03" + numbers[8 * row : 8 * row + 8]) * valid[0]
        if valid[1] and not 0 <= codes[row] < len(texts):
            try:
                native.rows(fields, count)
            except ValueError:
                return
            raise AssertionError("a code leads nowhere, and that was not noticed")
        if valid[1]:
            text = texts[codes[row]]
            size = bytes([len(text)]) if len(text) < 255 else b"\xff" + len(text).to_bytes(4, "little")
            made += b"\x07" + size + text
        expected.append(made + b"\x09" + numbers[row : row + 1] + b"\x00")
    forms, bounds = native.rows(fields, count)
    assert forms == b"".join(expected)
    where = np.frombuffer(bounds, np.int32).copy()
    assert where.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    if not native.HASHES:
        return
    group = draw.randrange(1, 40)
    hashes = [sha256(b"\x05" + b"".join(expected[at : at + group])).digest() for at in range(0, count, group)]
    assert native.digests(5, exact(forms), where, group) == b"".join(hashes)
    height = draw.randrange(9)
    made = native.above(exact(b"".join(hashes)), height)
    for _ in range(height):
        pairs = [
            sha256(b"\x01" + b"".join(hashes[at : at + 2])).digest() for at in range(0, len(hashes) - 1, 2)
        ]
        hashes = pairs + hashes[len(hashes) & ~1 :]
    assert made == b"".join(hashes)
    if native.LANES:
        many = [draw.randrange(3) for _ in range(draw.randrange(12))]
        pieces = [draw.choice(expected) * draw.randrange(3) for _ in range(sum(many))]
        cuts = np.cumsum([0, *many]).tolist()
        whole = [b"".join(pieces[low:high]) for low, high in pairwise(cuts)]
        digests = native.sha3_512([exact(piece) for piece in pieces], np.array(many, np.int32))
        assert digests == b"".join(sha3_512(text).digest() for text in whole)


FORMS = (
    (native.BITS, 0),
    (native.NUMBER, 4),
    (native.NUMBER, 8),
    (native.TEXT, -1),
    (native.BYTES, -1),
    (native.BYTES, 16),
)
OF_FORM: dict[int, type] = {native.BITS: bool, native.NUMBER: int, native.TEXT: str, native.BYTES: bytes}
HEAD = 4


def pages(data: bytes) -> None:
    """Any bytes are the pages of a column: what is taken out of them is of its form, and found again where it is."""
    if len(data) < HEAD:
        return
    form, width = FORMS[data[0] % len(FORMS)]
    places = np.array([HEAD, len(data), 6 * (data[1] & 1), *[-1] * (native.FIELDS - 3)], np.int64)
    chunk = 0, form, width
    wanted = Random(data[2:HEAD]).sample(range(data[2] + 1 << data[3] % 5), min(data[2] + 1, 9))
    rows = np.array(sorted(wanted), np.int64)
    values = _picked(data, places, chunk, rows)
    if values is not None:
        assert len(values) == len(rows)
        assert all(value is None or type(value) is OF_FORM[form] for value in values)
        for row, value in zip(rows[:3], values[:3], strict=True):  # one by one as together
            assert _picked(data, places, chunk, rows[rows == row]) == [value]
    whole = int(rows[-1]) + 1
    for find, given in (("where", [v for v in values or [0, 7] if isinstance(v, int)]),
                        ("carrying", [v for v in values or [bytes(16)] if isinstance(v, bytes)])):  # fmt: skip
        among = sorted(set(given))
        asked = np.array(among, np.int64) if find == "where" else exact(b"".join(among))
        try:
            more = (_inflate,) if find == "where" else (bool(data[1] & 2), _inflate)
            found = getattr(native, find)(exact(data), places, chunk, whole, asked, *more)
        except ValueError:
            continue
        at, *integers = [np.frombuffer(one, np.int64) for one in (found if find == "where" else (found,))]
        assert (np.diff(at) > 0).all()
        assert len(at) == 0 or 0 <= at[0] <= at[-1] < whole
        assert values is None or {r for r, v in zip(rows.tolist(), values, strict=True) if v in among} <= set(
            at.tolist()
        )
        assert not integers or set(integers[0].tolist()) <= set(among)


def _picked(data: bytes, places: Array, chunk: tuple[int, int, int], rows: Array) -> list[Any] | None:
    try:
        made = native.records(exact(data), places, [("a", None, chunk)], rows, {"a": 0}, _inflate)
        return [record["a"] for record in made]
    except ValueError:
        return None


def _inflate(packed: bytes, size: int) -> bytes:
    """What is packed says how long it is, so that pages of the fuzzer's own come of it, not those of a compressor."""
    if size > LARGEST:
        raise ValueError
    return (packed * (size // max(1, len(packed)) + 1))[:size].ljust(size, b"\0")


def footer(data: bytes) -> None:
    """Any bytes are a footer: what is noted of it is what a plain reader of Thrift's compact protocol says."""
    try:
        start, end, columns, rows, chunks = native.footer(exact(data))
    except ValueError:
        return
    assert 0 < start < end <= len(data)
    many = np.frombuffer(rows, np.int64).tolist()
    places = np.frombuffer(chunks, np.int64).reshape(len(many), columns, native.FIELDS).tolist()
    groups, at = _list(data, start)
    assert at == end
    assert [group[3, I64] for group in groups] == many
    for group, said in zip(groups, places, strict=True):
        assert len(group[1, LIST]) == columns
        for chunk, (first, last, codec, *more) in zip(group[1, LIST], said, strict=True):
            found = chunk[3, OBJECT]
            assert first in (found[9, I64], found.get((11, I64)))
            assert (last - first, codec) == (found[7, I64], found.get((4, I32), -1))
            assert more[:2] == [found.get((14, I64), -1), found.get((15, I32), -1)]
            for number, (place, size) in ((6, more[2:4]), (5, more[4:6])):  # the least value, the greatest
                value = found.get((12, OBJECT), {}).get((number, BINARY))
                assert (data[place : place + size] if place >= 0 else None) == value


I32, I64, BINARY, LIST, OBJECT = 5, 6, 8, 9, 12


def _object(data: bytes, at: int) -> tuple[dict[tuple[int, int], Any], int]:
    """Read an object of Thrift's compact protocol, by number and type; of members that come twice the last counts."""
    found: dict[tuple[int, int], Any] = {}
    number = 0
    while (head := data[at]) & 15:  # a type of 0 is the end
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _number(data, at)
        found[number, head & 15], at = _value(data, at, head & 15, element=False)
    return found, at + 1


def _list(data: bytes, at: int) -> tuple[list[Any], int]:
    many, kind, at = data[at] >> 4, data[at] & 15, at + 1
    if many == 15:
        many, at = _unsigned(data, at)
    found = []
    for _ in range(many):
        one, at = _value(data, at, kind, element=True)
        found.append(one)
    return found, at


def _value(data: bytes, at: int, kind: int, element: bool) -> tuple[Any, int]:
    if kind in (1, 2):
        return kind == 1, at + element
    if kind == BINARY:
        size, at = _unsigned(data, at)
        return data[at : at + size], at + size
    fixed = {3: 1, 7: 8}.get(kind)
    if fixed is not None:
        return None, at + fixed
    if kind in (4, I32, I64):
        return _number(data, at)
    return _object(data, at) if kind == OBJECT else _list(data, at)


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        found |= (data[at] & 127) << shift
        if data[at] < 128:
            return found & (2**64 - 1), at + 1
        at, shift = at + 1, shift + 7


def _number(data: bytes, at: int) -> tuple[int, int]:
    found, at = _unsigned(data, at)
    return (found >> 1) ^ -(found & 1), at


def arguments(data: bytes) -> None:
    """Whatever the functions are called with, they answer or raise: sizes, numbers and objects of any kind."""
    draw = Random(data)
    plenty = [
        None, 0, -1, 2**31, 2**63 - 1, b"", data, "text", [], [None], [b"a", data], (b"a", 0, 0), [[(b"a", 0, 0)]],
        [[(b"o", 1, 0), (data[:9], 0, 0)]], bytearray(data), exact(data), memoryview(data), np.zeros(1, np.bool_),
        np.array([0, len(data)], np.int64), np.zeros(2, np.int64), np.zeros(native.MOST_DISTINCT, np.uint32),
        np.zeros(VIEW, np.uint8), np.frombuffer(data[: len(data) // 8 * 8], np.int64),
        (b"", None, 0, exact(data), [data]),
        [(b'"n":', None, 0, exact(bytes(VIEW)), [])], np.zeros(1, np.uint8), np.zeros(1, np.uint32), 1,
        (0, 1, 4), [(3, 3, 16)], [(-1, 2, -1), None], [("a", len, (0, 2, -1))], {}, len, _inflate,
    ]  # fmt: skip
    places = np.array([0, len(data), 0, *[-1] * (native.FIELDS - 3)], np.int64)
    fitting = {
        "read": [[[(b"a", 0, 0)]], 1, data, np.array([0, len(data)], np.int64), np.zeros(1, np.bool_),
                 np.zeros(len(data), np.uint8), np.zeros(VIEW, np.uint8), np.zeros(1, np.uint8), np.zeros(1, np.uint32),
                 np.zeros(native.MOST_DISTINCT, np.uint32)],
        "objects": [[(b'"n":', None, 0, exact(bytes(VIEW)), [data])], [None]],
        "times": [(b"", None, 0, exact(bytes(VIEW)), [data]), 1],
        "joined": [[data, b""], np.zeros(3, np.int64), 0, 2**31],
        "blocks": [data, np.array([0, len(data)], np.int64), b"\1"],
        "rows": [[(1, 0, data, np.array([0, len(data)], np.int32), np.zeros(1, np.int32), data, 0)], 1],
        "digests": [0, data, np.array([0, len(data)], np.int32), 1],
        "sha3_512": [[data, b""], np.array([1, 0, 1], np.int32)],
        "above": [data[: len(data) // 32 * 32], 3],
        "records": [data, places, [("a", None, (0, native.TEXT, -1))], np.array([0, 5], np.int64), {}, _inflate],
        "where": [data, places, (0, native.NUMBER, 8), 20, np.array([0, 5], np.int64), _inflate],
        "carrying": [data, places, (0, native.BYTES, 16), 20, data[: len(data) // 16 * 16], False, _inflate],
        "footer": [data],
    }  # fmt: skip
    for name, given in fitting.items():
        for _ in range(6):
            changed = list(given)
            for _ in range(draw.choice([0, 1, 1, 2])):
                changed[draw.randrange(len(changed))] = draw.choice(plenty)
            try:
                getattr(native, name)(*changed)
            except (ValueError, TypeError, OverflowError, BufferError, MemoryError, RuntimeError):
                continue


TARGETS: dict[str, Callable[[bytes], None]] = {
    "reader": reader,
    "records": records,
    "columns": columns,
    "blocks": blocks,
    "rows": rows,
    "pages": pages,
    "footer": footer,
    "arguments": arguments,
}

if __name__ == "__main__":
    assert built_native.NAME in sys.modules
    again = (
        f"{sys.executable} {sys.argv[0]} {sys.argv[1]}"  # how libFuzzer starts processes of its own to merge
    )
    atheris.Setup([again, *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()
