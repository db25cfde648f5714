"""Columns of text in compiled code: the same as without it, whatever the columns are made of."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from lethe.streams.transform import text_columns as texts
from lethe.streams.transform.split import window_fields as fields
from lethe.streams.transform.split.columns import times
from lethe.streams.transform.text_columns import iso_times, objects

pytestmark = pytest.mark.usefixtures("reader")
LONG = "a text too long to be part of its view"
NAMES = ("a", "bb.c", '=odd "name"')


def column(values: list[str | None]) -> pl.Series:
    return pl.Series("t", values, dtype=pl.String)


def micros(*values: datetime) -> list[int]:
    return [(one - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for one in values]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00.000+0000", datetime(1970, 1, 1, tzinfo=UTC)),
        ("1969-12-31T23:59:59.999+0000", datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
        ("2000-02-29T12:00:00.001+0530", datetime(2000, 2, 29, 6, 30, 0, 1000, tzinfo=UTC)),
        ("2024-02-29T23:59:59.999-2359", datetime(2024, 3, 1, 23, 58, 59, 999000, tzinfo=UTC)),
        ("0001-01-02T00:00:00.000+0000", datetime(1, 1, 2, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999+0000", datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
    ],
)
def test_a_time_in_the_usual_spelling_is_read(text: str, expected: datetime) -> None:
    found = iso_times(column([text]))
    assert found is not None
    assert found.dtype == pl.Datetime("us", "UTC")
    assert found.cast(pl.Int64).to_list() == micros(expected)


@pytest.mark.parametrize("month", range(1, 13))
@pytest.mark.parametrize("year", [1900, 1970, 1999, 2000, 2023, 2024, 2100])
def test_every_day_there_is_and_no_other(year: int, month: int) -> None:
    days = [f"{year}-{month:02}-{day:02}T00:00:00.000+0000" for day in range(34)]
    found = iso_times(column(days))
    assert found is not None
    for day, one in enumerate(found.cast(pl.Int64).to_list()):
        try:
            assert [one] == micros(datetime(year, month, day, tzinfo=UTC))
        except ValueError:
            assert one is None


USUAL = "2019-11-09T16:00:00.000+0000"
OTHERS = [
    USUAL[:at] + other + USUAL[at + 1 :]
    for at in range(len(USUAL))
    for other in (":/ Zé\0a" if USUAL[at].isdigit() else ";,0 ")
]


def test_another_spelling_is_left_to_others() -> None:
    wrong = [
        *("2019-13-09T16:00:00.000+0000", "2019-00-09T16:00:00.000+0000", "2019-11-31T16:00:00.000+0000"),
        *("2019-11-09T24:00:00.000+0000", "2019-11-09T16:60:00.000+0000", "2019-11-09T16:00:60.000+0000"),
        *("2019-11-09T16:00:00.000+2400", "2019-11-09T16:00:00.000+0060", "0000-11-09T16:00:00.000+0000"),
        *(USUAL[:-1], USUAL + "0", "", "x", LONG),
    ]
    found = iso_times(column([*OTHERS, None, *wrong, USUAL]))
    assert found is not None
    assert [at for at, one in enumerate(found.to_list()) if one is not None] == [len(OTHERS) + 1 + len(wrong)]


def test_without_compiled_code_times_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = [*OTHERS, None, USUAL, "2019-11-09 21:30:00+05:30", "1985-11-09T16:00:00.000+0000", "no time"]
    mine = times(column(mixed), "iso").to_list()
    monkeypatch.setattr(texts, "_code", None)
    assert times(column(mixed), "iso").to_list() == mine


def frame(*rows: tuple[str | None, ...]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dict.fromkeys(NAMES, pl.String), orient="row")


def both(some: pl.DataFrame, given: list[bytes | None], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is made with compiled code, once it is seen to be what is made without."""
    mine = fields.entries(some, NAMES, given)
    assert mine.type == pa.binary()
    mine.validate(full=True)
    with monkeypatch.context() as without:
        without.setattr(texts, "_code", None)
        theirs = fields.entries(some, NAMES, given)
    assert mine.to_pylist() == theirs.to_pylist()
    return mine.to_pylist()


def test_fields_and_what_is_given_stand_in_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    some = frame((LONG, None, "x"), (None, None, None), ("y", "z", None), (None, "", None))
    made = both(some, [None, None, b"an original", None], monkeypatch)
    assert made == [f'{{"=odd \\"name\\"":"x","a":"{LONG}"}}'.encode(), None, b"an original", b'{"bb.c":""}']
    assert both(some, [b"", b"\0\xff", None, None], monkeypatch)[:2] == [b"", b"\0\xff"]


@pytest.mark.parametrize("odd", ['"', "\\", "\n", "\x01", "\x1f", "\x7f"])
def test_texts_with_escapes_are_written_by_the_general_way(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in (odd, f"ab{odd}", LONG + odd, odd + LONG, f"{LONG}{odd}{LONG}"):
        made = both(frame(("a", "b", "c"), ("é", text, None), (None, LONG, None)), [None] * 3, monkeypatch)
        assert made[0] == b'{"=odd \\"name\\"":"c","a":"a","bb.c":"b"}'
    assert objects([(b'"a":', column(["plain é \x80€"]))], [None])[1] is None  # type: ignore[index]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 64, 1000])
def test_columns_of_any_make(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = frame(*((LONG[: at % 30] if at % 3 else None, str(at), None) for at in range(count + 20)))
    given = [b"given" if at % 5 == 0 else None for at in range(count)]
    expected = both(frame(*whole.slice(3, count).rows()), given, monkeypatch)
    assert both(whole.slice(3, count), given, monkeypatch) == expected
    in_chunks = pl.concat(
        [whole.slice(3, count // 2), whole.slice(3 + count // 2, count - count // 2)], rechunk=False
    )
    assert both(in_chunks, given, monkeypatch) == expected
    assert both(whole[list(range(3, 3 + count))], given, monkeypatch) == expected
    late = [f"2019-11-09T16:00:00.{at:03}+0000" if at % 3 else None for at in range(count + 20)]
    assert (
        iso_times(column(late).slice(5, count)).to_list() == iso_times(column(late[5 : 5 + count])).to_list()
    )  # type: ignore[union-attr]


def test_what_cannot_be_taken_is_left_to_the_general_way() -> None:
    assert objects([(b'"a":', pl.Series([1, 2]))], [None, None]) is None
    assert objects([(b'"a":', column(["x"]))] * 257, [None]) is None
    assert iso_times(pl.Series([1, 2])) is None


def view(length: int, buffer: int = 0, offset: int = 0) -> bytes:
    return b"".join(number.to_bytes(4, "little") for number in (length, 0, buffer, offset))


@pytest.mark.parametrize(
    "lost", [view(13, 1), view(13, 0, 1), view(14), view(13, 0, 2**32 - 1), view(2**32 - 1)]
)
def test_a_view_that_leads_nowhere_is_no_reason_to_read_there(lost: bytes) -> None:
    described = (b'"a":', None, 0, pa.py_buffer(lost), [pa.py_buffer(b"thirteen byte")])
    with pytest.raises(ValueError, match="leads nowhere"):
        texts._code.objects([described], [None])
    with pytest.raises(ValueError, match="leads nowhere"):
        texts._code.times(described, 1)


def test_columns_that_do_not_fit_are_refused() -> None:
    right: list[Any] = [b'"a":', None, 0, pa.py_buffer(view(1) * 2), []]
    wrong = [(1, pa.py_buffer(b"")), (1, pa.py_buffer(b"1")), (2, -1), (2, 2**40), (3, pa.py_buffer(view(1)))]
    for at, value in [*wrong, (4, [pa.py_buffer(b"")] * 65)]:
        described = [*right]
        described[at] = value
        if at == 1 and value.size:
            described[2] = 7  # one byte of bits, and two rows behind the seventh
        with pytest.raises(ValueError, match="does not fit"):
            texts._code.objects([tuple(described)], [None, None])
    for call in (lambda: texts._code.objects([None], [None]), lambda: texts._code.objects([], [1])):
        with pytest.raises((TypeError, SystemError)):
            call()
    with pytest.raises(ValueError, match=re.escape("not a number of rows")):
        texts._code.times(tuple(right), -1)


def test_times_after_each_other_are_read_as_if_alone() -> None:
    """Neighbours of one minute share what was found of it."""
    rng = np.random.default_rng(9)
    parts = [
        [
            "2019-11-09T16:00:",
            "2019-11-09T16:01:",
            "2020-02-29T23:59:",
            "2019-02-29T23:59:",
            "2019-11-09 16:00:",
        ],
        ["00", "59", "07", "31", "60", "5x"],
        [".", ".", ".", ","],
        ["000", "999", "120", "9 9"],
        ["+0000", "+0000", "+0130", "-2359", "-0000", "+2400", "Z"],
    ]
    spelt: list[str | None] = [
        "".join(part[rng.integers(0, len(part))] for part in parts) for _ in range(3_000)
    ]
    spelt += [USUAL, None, USUAL[:17] + "01" + USUAL[19:], "", USUAL]
    alone = [iso_times(column([text])) for text in spelt]
    found = iso_times(column(spelt))
    assert found is not None
    assert found.to_list() == [one.to_list()[0] for one in alone if one is not None]
    assert 300 < found.is_not_null().sum() < 2_000
