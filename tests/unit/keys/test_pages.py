"""Pages give their entries back, and bombs, strangers and strays are refused."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import zstandard

import lethe.keys.pages
from lethe.keys.monthkeys import MonthKeys
from lethe.keys.pages import ENTRIES, MOST_PAGE_BYTES, decode_page, encode_page, open_page, seal_page
from lethe.keys.secret import Secret
from lethe.schemas.errors import IntegrityError

KEYS = MonthKeys("2025-01.w12", Secret(bytes(32)))
PLACE = ("originals", "infobip.sms", 3, 10, 12)
ROWS: list[dict[str, Any]] = [
    {"offset": 10, "index": None, "form": "received", "value": b'{"to":"923001234567"}'},
    {"offset": 12, "index": 0, "form": "canonical", "value": b""},
    {"offset": 12, "index": 1, "form": "fields", "value": bytes(range(256))},
]


def entries(rows: list[dict[str, Any]] = ROWS) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=ENTRIES)


def raw_page(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return zstandard.compress(sink.getvalue())


def test_a_page_gives_its_entries_back() -> None:
    sealed = seal_page(KEYS, *PLACE, entries())
    opened = open_page(KEYS, *PLACE, sealed)
    assert opened.to_pylist() == ROWS
    assert opened.schema == ENTRIES
    assert b"923001234567" not in sealed


def test_an_empty_page() -> None:
    assert decode_page(encode_page(entries([]))).to_pylist() == []


def test_the_same_entries_give_the_same_bytes_however_they_are_cut_and_ordered() -> None:
    whole = encode_page(entries())
    around = entries([*ROWS, ROWS[0]])
    assert encode_page(around.slice(0, 3)) == whole
    assert encode_page(pa.concat_tables([around.slice(0, 1), around.slice(1, 2)])) == whole
    assert encode_page(entries().select(["value", "form", "index", "offset"])) == whole


def test_equal_records_are_compressed() -> None:
    rows = [{"offset": n, "index": None, "form": "received", "value": b"x" * 500} for n in range(1000)]
    assert len(encode_page(entries(rows))) < 10_000


@pytest.mark.parametrize(
    "place",
    [
        ("quarantine", "infobip.sms", 3, 10, 12),
        ("originals", "infobip.mms", 3, 10, 12),
        ("originals", "infobip.sms", 4, 10, 12),
        ("originals", "infobip.sms", 3, 9, 12),
        ("originals", "infobip.sms", 3, 10, 13),
    ],
)
def test_a_page_opens_in_no_other_place(place: tuple[str, str, int, int, int]) -> None:
    with pytest.raises(IntegrityError):
        open_page(KEYS, *place, seal_page(KEYS, *PLACE, entries()))


def test_a_changed_page_is_refused() -> None:
    sealed = bytearray(seal_page(KEYS, *PLACE, entries()))
    for at in range(0, len(sealed), 7):
        changed = bytes([*sealed[:at], sealed[at] ^ 4, *sealed[at + 1 :]])
        with pytest.raises(IntegrityError):
            open_page(KEYS, *PLACE, changed)


def test_entries_outside_the_range_are_refused() -> None:
    for first, last in ((11, 12), (10, 11)):
        with pytest.raises(ValueError, match="outside the offsets"):
            seal_page(KEYS, "originals", "infobip.sms", 3, first, last, entries())


@pytest.mark.parametrize(
    "table",
    [
        entries().drop_columns(["index"]),
        entries().append_column("more", pa.nulls(3)),
        pa.table({name: pa.nulls(1, ENTRIES.field(name).type) for name in ENTRIES.names}),
    ],
)
def test_entries_of_another_shape_are_refused(table: pa.Table) -> None:
    with pytest.raises(ValueError, match="page"):
        encode_page(table)


def test_a_page_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lethe.keys.pages, "MOST_PAGE_BYTES", 10_000)
    row = {"offset": 0, "index": None, "form": "received"}
    assert encode_page(entries([{**row, "value": b"\0" * 8_000}]))
    for size in (9_900, 10_001):  # too large as a stream, too large already
        with pytest.raises(ValueError, match="cut it into smaller ones"):
            encode_page(entries([{**row, "value": b"\0" * size}]))


def bomb(size: int) -> bytes:
    """A frame of `size` zeros that states its size, without ever holding them all."""
    compressor = zstandard.ZstdCompressor(level=1).compressobj(size=size)
    block = bytes(1 << 20)
    return b"".join([*(compressor.compress(block) for _ in range(size >> 20)), compressor.flush()])


def test_a_decompression_bomb_is_refused_before_it_goes_off(monkeypatch: pytest.MonkeyPatch) -> None:
    page = bomb(MOST_PAGE_BYTES + (1 << 20))
    assert len(page) < 20_000

    def inflate() -> None:
        raise AssertionError("it was inflated")

    monkeypatch.setattr(zstandard, "ZstdDecompressor", inflate)
    with pytest.raises(IntegrityError):
        decode_page(page)
    with pytest.raises(IntegrityError):
        decode_page(zstandard.ZstdCompressor(write_content_size=False).compress(b"x"))


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_bomb_inside_the_arrow_stream_is_refused_before_it_goes_off(codec: str) -> None:
    sink = pa.BufferOutputStream()
    huge = [{"offset": 1, "index": None, "form": "received", "value": bytes(8 << 20)}]
    with pa.ipc.new_stream(sink, ENTRIES, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(entries(huge))
    page = zstandard.compress(sink.getvalue())
    before = pa.default_memory_pool().total_bytes_allocated()
    with pytest.raises(IntegrityError):
        decode_page(page)
    assert pa.default_memory_pool().total_bytes_allocated() - before < 1 << 20
    assert len(page) < 1 << 17


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"\0" * 100,
        zstandard.compress(b""),
        zstandard.compress(b"no arrow"),
        encode_page(entries())[:-1],
        encode_page(entries()) + b"\0",
        encode_page(entries()) * 2,
        raw_page(entries().append_column("more", pa.array([b"923001234567"] * 3))),
        raw_page(entries().select(["index", "offset", "form", "value"])),
        raw_page(entries().cast(pa.schema([*list(ENTRIES)[:3], pa.field("value", pa.large_binary())]))),
    ],
)
def test_what_is_no_page_is_refused_without_quoting_it(page: bytes) -> None:
    with pytest.raises(IntegrityError, match="does not decode") as error:
        decode_page(page)
    assert error.value.__context__ is None
