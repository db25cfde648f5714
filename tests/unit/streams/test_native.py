"""What Python calls of compiled code: what it holds while others run it gives back, whatever goes wrong."""

from __future__ import annotations

import io
import sys
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from lethe.schemas.compiled import native

pytestmark = pytest.mark.usefixtures("reader")
code = native()
VALUE = b'{"a":"a text too long to be part of its view","n":1}'
TEXTS = np.frombuffer(b"twelve bytes and a good many more", np.uint8)


def view(length: int, buffer: int = 0, offset: int = 0) -> np.ndarray[Any, Any]:
    words = (length, int.from_bytes(TEXTS[offset : offset + 4].tobytes(), "little"), buffer, offset)
    return np.frombuffer(np.array(words, np.uint32).tobytes(), np.uint8)


def reading(plan: list[Any], data: Any) -> tuple[Any, ...]:
    return (
        plan, 2, data, np.array([0, len(data)], np.int64), np.zeros(1, np.bool_), np.zeros(len(data), np.uint8),
        np.zeros(32, np.uint8), np.zeros(2, np.uint8), np.zeros(2, np.uint32),
        np.zeros(2 * code.MOST_DISTINCT, np.uint32),
    )  # fmt: skip


def column(length: int, buffer: int = 0) -> tuple[Any, ...]:
    return (b'"a":', np.array([255], np.uint8), 0, view(length, buffer), [TEXTS])


CALLS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "read": (code.read, reading([[(b"a", 0, 0), (b"n", 0, 1)]], VALUE)),
    "read, no plan": (code.read, reading([[(b"a", 0, 0)], [(b"n", 9, 9)]], VALUE)),
    "read, no member": (code.read, reading([[(b"a", 0, 0), None]], VALUE)),
    "read, no list": (code.read, reading([[(b"a", 0, 0)], 7], VALUE)),
    "read, may change": (code.read, reading([[(b"a", 0, 0)]], bytearray(VALUE))),
    "objects": (code.objects, ([column(20), column(5)], [None])),
    "objects, given": (code.objects, ([column(20)], [VALUE])),
    "objects, nowhere": (code.objects, ([column(20), column(20, 3)], [None])),
    "objects, no column": (code.objects, ([column(20), None], [None])),
    "objects, no bytes": (code.objects, ([column(20)], ["text"])),
    "objects, no buffer": (code.objects, ([(b"", None, 0, view(20), [TEXTS, "text"])], [None])),
    "times": (code.times, (column(28), 1)),
    "times, nowhere": (code.times, (column(28, 1), 1)),
    "times, too short": (code.times, (column(28), 2)),
    "joined": (code.joined, ([VALUE, b""], np.zeros(3, np.int64), 0, 99)),
    "joined, too long": (code.joined, ([VALUE, b""], np.zeros(3, np.int64), 0, 9)),
    "joined, no room": (code.joined, ([VALUE, b""], np.zeros(2, np.int64), 0, 99)),
    "rows": (code.rows, ([(1, 0, TEXTS, np.array([0, 9], np.int32), None, None, 0)], 1)),
    "rows, nowhere": (code.rows, ([(1, 0, TEXTS, np.array([0, 99], np.int32), None, None, 0)], 1)),
    "rows, no field": (code.rows, ([(1, 4, TEXTS, None, None, VALUE, 0), None], 1)),
    "rows, no buffer": (code.rows, ([(1, 4, TEXTS, None, None, "text", 0)], 1)),
    "blocks": (code.blocks, (VALUE, np.array([0, 9, len(VALUE)], np.int64), b"\1\2")),
    "blocks, do not fit": (code.blocks, (VALUE, np.array([0, 9], np.int64), b"\1\2")),
    "blocks, no codes": (code.blocks, (VALUE, np.array([0, len(VALUE)], np.int64), "text")),
}


def inflate(packed: bytes, size: int) -> bytes:
    return packed.ljust(size, b"\0")


def refuse(packed: bytes, size: int) -> bytes:
    raise ValueError


def pages(*values: str | None) -> tuple[bytes, int]:
    """The pages of a column of texts, and how long they are; or of numbers."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": list(values)}), sink, data_page_version="2.0", compression="zstd")
    chunk = pq.read_metadata(sink).row_group(0).column(0)
    start = chunk.dictionary_page_offset
    return sink.getvalue()[start : start + chunk.total_compressed_size], chunk.total_compressed_size


def unpacked(packed: bytes, size: int) -> bytes:
    return zstandard.decompress(packed, size)


PAGES, LENGTH = pages("a", None, "a text too long to be short", "a")
FIRST = np.array([0, 2], np.int64)
TEXT_CHUNK, NUMBERS, WIDE = (0, code.TEXT, -1), (0, code.NUMBER, 8), (0, code.BYTES, 16)


def places(start: int, end: int, codec: int = 6) -> np.ndarray[Any, Any]:
    """Where the chunk of the only column is, as `footer` tells of it."""
    return np.array([start, end, codec, *[-1] * (code.FIELDS - 3)], np.int64)


HERE = places(0, LENGTH)
TEMPLATE = {"b": [], "a": None}
SINK = io.BytesIO()
pq.write_table(pa.table({"a": ["x", "y"], "b": [1, 2]}), SINK, row_group_size=1)
FOOTER = SINK.getvalue()[-8 - int.from_bytes(SINK.getvalue()[-8:-4], "little") : -8]
CALLS |= {
    "records, beyond the end": (
        code.records,
        (PAGES, places(0, LENGTH + 1), [("a", None, TEXT_CHUNK)], FIRST, TEMPLATE, unpacked),
    ),
    "records, another codec": (
        code.records,
        (PAGES, places(0, LENGTH, 1), [("a", None, TEXT_CHUNK)], FIRST, TEMPLATE, unpacked),
    ),
    "records, no such column": (
        code.records,
        (PAGES, HERE, [("a", None, (1, code.TEXT, -1))], FIRST, TEMPLATE, unpacked),
    ),
    "records, no places": (
        code.records,
        (PAGES, HERE[:3], [("a", None, TEXT_CHUNK)], FIRST, TEMPLATE, unpacked),
    ),
    "records, too few rows": (
        code.records,
        (PAGES, HERE, [("a", None, TEXT_CHUNK)], FIRST + 3, TEMPLATE, unpacked),
    ),
    "records, no text": (code.records, (PAGES, HERE, [("a", None, NUMBERS)], FIRST, TEMPLATE, unpacked)),
    "records, too short": (code.records, (PAGES, HERE, [("a", None, TEXT_CHUNK)], FIRST, TEMPLATE, inflate)),
    "records, refused": (code.records, (PAGES, HERE, [("a", None, TEXT_CHUNK)], FIRST, TEMPLATE, refuse)),
    "records, no bytes": (
        code.records,
        (PAGES, HERE, [("a", None, TEXT_CHUNK)], FIRST, TEMPLATE, lambda *given: None),
    ),
    "records, no chunk": (
        code.records,
        (PAGES, HERE, [("a", None, TEXT_CHUNK), None], FIRST, TEMPLATE, unpacked),
    ),
    "records": (code.records, (PAGES, HERE, [("a", None, TEXT_CHUNK)], FIRST, TEMPLATE, unpacked)),
    "records, read": (code.records, (PAGES, HERE, [("a", str.upper, TEXT_CHUNK)], FIRST, TEMPLATE, unpacked)),
    "records, not read": (code.records, (PAGES, HERE, [("a", int, TEXT_CHUNK)], FIRST, TEMPLATE, unpacked)),
    "records, no reader": (code.records, (PAGES, HERE, [("a", "b", TEXT_CHUNK)], FIRST, TEMPLATE, unpacked)),
    "records, no name": (code.records, (PAGES, HERE, [([], None, TEXT_CHUNK)], FIRST, TEMPLATE, unpacked)),
    "records, no column": (code.records, (PAGES, HERE, [("a", TEXT_CHUNK)], FIRST, TEMPLATE, unpacked)),
    "records, nowhere": (
        code.records,
        (PAGES, places(5, LENGTH), [("a", None, TEXT_CHUNK)], FIRST, TEMPLATE, unpacked),
    ),
    "where": (code.where, (PAGES, HERE, NUMBERS, 4, FIRST, unpacked)),
    "where, no numbers": (code.where, (PAGES, HERE, TEXT_CHUNK, 4, FIRST, unpacked)),
    "carrying": (code.carrying, (PAGES, HERE, WIDE, 4, VALUE[:32], False, unpacked)),
    "carrying, no width": (code.carrying, (PAGES, HERE, WIDE, 4, VALUE[:31], False, unpacked)),
    "footer": (code.footer, (FOOTER,)),
    "footer, cut short": (code.footer, (FOOTER[:-60],)),
    "footer, none": (code.footer, (VALUE,)),
}


def test_what_is_given_to_these_calls_is_taken() -> None:
    call, given = CALLS["records"]
    assert call(*given) == [{"b": [], "a": "a"}, {"b": [], "a": "a text too long to be short"}]
    call, given = CALLS["records, read"]
    assert call(*given) == [{"b": [], "a": "A"}, {"b": [], "a": "A TEXT TOO LONG TO BE SHORT"}]
    assert TEMPLATE == {"b": [], "a": None}
    call, given = CALLS["footer"]
    start, end, columns, rows, chunks = call(*given)
    assert 0 < start < end < len(FOOTER)
    assert (columns, np.frombuffer(rows, np.int64).tolist()) == (2, [1, 1])
    assert len(chunks) == 2 * 2 * code.FIELDS * 8


def flat(given: Any) -> list[Any]:
    if isinstance(given, list | tuple):
        return [given, *(one for inner in given for one in flat(inner))]
    return [] if isinstance(given, int) or given is None else [given]  # of those there is one for all


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_kept_and_nothing_is_lost(name: str) -> None:
    """As many references afterwards as before, no buffer still held, no memory still taken."""
    call, given = CALLS[name]
    things = flat(given)

    def often(times: int) -> None:
        for _ in range(times):
            try:
                call(*given)
            except (ValueError, TypeError):
                continue

    often(20)
    before = [sys.getrefcount(thing) for thing in things]
    tracemalloc.start()
    try:
        often(5)
        kept = tracemalloc.get_traced_memory()[0]
        often(300)
        assert tracemalloc.get_traced_memory()[0] - kept < 20_000  # one leaked table or column is more
    finally:
        tracemalloc.stop()
    assert [sys.getrefcount(thing) for thing in things] == before


def test_what_may_change_is_not_read() -> None:
    """A text that is copied is looked at twice: both times it has to be the same."""
    with pytest.raises(ValueError, match="do not fit"):
        code.read(*reading([[(b"a", 0, 0)]], bytearray(VALUE)))


def test_lists_may_change_while_they_are_read() -> None:
    """Other threads run meanwhile; what they take out of a list is still there for the call that was given it."""
    stop = threading.Event()
    values = [b"%d" % at * 500 for at in range(300)]
    given: list[bytes | None] = list(values)
    plan: list[Any] = [[(b"%d" % at, 0, 0) for at in range(60)]]

    def change() -> None:
        while not stop.is_set():
            given[:] = [b"%d" % at * 500 for at in range(300)]
            plan[0][:] = [(b"%d" % at, 0, 0) for at in range(60)]

    other = threading.Thread(target=change)
    other.start()
    try:
        for _ in range(300):
            try:
                ends, data, _, _ = code.objects([], given)
                joined = code.joined(given, np.zeros(301, np.int64), 0, 10_000)
            except ValueError:  # it had another length at that moment
                continue
            assert data == b"".join(values)
            assert joined == data
            assert len(ends) == 4 * 301
            assert code.read(*reading(plan, b'{"7":"' + b"x" * 50_000 + b'"}'))[1][0] == 1
    finally:
        stop.set()
        other.join()


def test_what_was_built_of_other_code_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an update without a new installation: all goes the general way, and `lethe doctor` says so."""
    assert native() is code
    monkeypatch.setattr(code, "INTERFACE", code.INTERFACE - 1)
    assert native() is None
    monkeypatch.delattr(code, "INTERFACE")
    assert native() is None
