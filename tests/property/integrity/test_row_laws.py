"""Laws of canonical rows: one form for each row, made fast or slowly, that can be read back."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lethe.integrity.evidence import verify_evidence
from lethe.integrity.evidence.build import row_to_json
from lethe.integrity.log.commitment import commit_rows
from lethe.integrity.log.leaves import commit_with_leaves, decode, encode_whole
from lethe.integrity.rows.canonical_json import canonical, parse
from lethe.integrity.rows.canonical_rows import COLUMNS, Kind, encode
from lethe.schemas.arrow import METADATA
from lethe.schemas.retention.calendar import Month

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STRATEGIES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.INT32: st.integers(-(2**31), 2**31 - 1),
    Kind.INT64: st.integers(-(2**63), 2**63 - 1),
    Kind.TIMESTAMP: st.datetimes(datetime(1000, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)),
    Kind.DECIMAL: st.integers(-(10**18) + 1, 10**18 - 1).map(lambda n: Decimal(n).scaleb(-6)),
    Kind.BOOLEAN: st.booleans(),
    Kind.STRING: st.one_of(st.text(max_size=6), st.sampled_from(["a", "b", "x" * 254, "x" * 255, "é" * 300])),
    Kind.HASH: st.binary(min_size=32, max_size=32),
}


def values(column: str) -> st.SearchStrategy[Any]:
    strategy = STRATEGIES[COLUMNS[column][1]]
    return st.none() | strategy if METADATA.field(column).nullable else strategy


archive_rows = st.fixed_dictionaries({column: values(column) for column in COLUMNS})
quick = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=pa.schema([f for f in METADATA if f.name != "month"]))


def read(form: bytes) -> dict[str, Any]:
    """Read a canonical row back, from the specification alone."""
    assert form[:1] == b"\x01"
    by_id = {number: (name, kind) for name, (number, kind) in COLUMNS.items()}
    found: dict[str, Any] = dict.fromkeys(COLUMNS)
    at, last = 1, 0
    while form[at]:
        assert form[at] > last
        last = form[at]
        name, kind = by_id[last]
        at += 1
        if kind is Kind.STRING:
            size, at = form[at], at + 1
            if size == 255:
                (size,), at = struct.unpack_from("<I", form, at), at + 4
                assert size >= 255
            found[name], at = form[at : at + size].decode(), at + size
        elif kind is Kind.HASH:
            found[name], at = form[at : at + 32], at + 32
        elif kind is Kind.BOOLEAN:
            found[name], at = bool(form[at]), at + 1
        else:
            layout = "<i" if kind is Kind.INT32 else "<q"
            (number,), at = struct.unpack_from(layout, form, at), at + struct.calcsize(layout)
            if kind is Kind.TIMESTAMP:
                number = EPOCH + timedelta(microseconds=number)
            found[name] = Decimal(number).scaleb(-6) if kind is Kind.DECIMAL else number
    assert at == len(form) - 1
    return found


@quick
@given(st.lists(archive_rows, min_size=1, max_size=20))
def test_every_row_can_be_read_back_from_its_form(rows: list[dict[str, Any]]) -> None:
    encoded = encode(table(rows))
    assert [read(encoded[n]) for n in range(len(rows))] == rows


@quick
@given(archive_rows)
def test_the_fast_way_and_the_slow_one_agree(row: dict[str, Any]) -> None:
    assert encode(table([row]))[0] == verify_evidence.encode_row(row_to_json(table([row])))


@quick
@given(st.lists(archive_rows, min_size=2, max_size=20), st.randoms(use_true_random=False))
def test_a_row_has_one_form_whatever_stands_around_it(rows: list[dict[str, Any]], chance: Any) -> None:
    alone = [encode(table([row]))[0] for row in rows]
    order = list(range(len(rows)))
    chance.shuffle(order)
    together = encode(table([rows[n] for n in order] * 30))
    assert [together[n] for n in range(len(rows))] == [alone[n] for n in order]


positions = st.lists(
    st.tuples(st.integers(0, 2**40) | st.integers(2**62, 2**63 - 1), st.none() | st.integers(0, 2**20)),
    min_size=1,
    max_size=40,
    unique=True,
)


@quick
@given(positions, st.booleans(), st.booleans(), st.data())
def test_leaf_files_hold_every_position_and_month(
    found: list[tuple[int, int | None]], one_month: bool, whole: bool, data: st.DataObject
) -> None:
    base = data.draw(archive_rows)
    rows = []
    for offset, index in found:
        when = base["event_time"] if one_month else data.draw(STRATEGIES[Kind.TIMESTAMP])
        rows.append(
            base | {"offset": offset, "index": index, "event_time": when, "integrity_hash": bytes(32)}
        )
    first = data.draw(st.integers(0, min(offset for offset, _ in found)))
    commitment, file, months = commit_with_leaves(table(rows), first, whole)
    assert commitment == commit_rows(table(rows))
    read = decode(file, first)
    rows.sort(key=lambda row: (row["offset"], -1 if row["index"] is None else row["index"]))
    assert [(row.offset, row.index) for row in read.rows] == [(row["offset"], row["index"]) for row in rows]
    assert [row.month for row in read.rows] == [Month.of(row["event_time"]) for row in rows]
    assert months == (min(row.month for row in read.rows), max(row.month for row in read.rows))
    assert read.root() == commitment.root
    assert file[0] == (1 if whole or months[0] != months[1] else 2)
    if file[0] == 1:
        leaves = encode(table(rows)).leaf_hashes()
        assert [group.root for group in read.groups] == leaves
        assert encode_whole(read.rows, leaves, first) == file


# A whole number written as a float may have a canonical form that is an integer too large to be read back.
floats = st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: abs(x) < 2**53 or abs(x) >= 1e21)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | floats | st.text(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=5), inside, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_canonical_json_is_canonical(value: dict[str, Any]) -> None:
    once = canonical(value)
    assert canonical(parse(once)) == once
