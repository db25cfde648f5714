"""Rows out of scope are tamper-evident too: the group of at most 32 is named in which something changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from integrity_samples import ORIGIN, Archive, Row, commits, name, row, source, table, told

from lethe.integrity.log import merkle, outside
from lethe.integrity.log.entries import Entry, Outside
from lethe.integrity.rows.canonical_rows import COLUMNS, encode
from lethe.integrity.verify.archive import Progress, verify_archive
from lethe.integrity.verify.findings import Finding, Kind
from lethe.integrity.verify.row_batch import Months
from lethe.schemas.arrow import METADATA
from lethe.schemas.errors import IntegrityError, LetheError
from lethe.schemas.retention.calendar import Month

VICTIM = 47
COUNT, SIZE = 300, 100


def mixed(count: int = COUNT, first: int = 0) -> list[Row]:
    """One row in five is in scope."""
    return [
        row(offset) if not offset % 5 else row(offset, integrity_hash=None, original_form=None)
        for offset in range(first, first + count)
    ]


def group_of(offset: int) -> str:
    """The group of 32 rows out of scope of a commit of 100 rows that holds an offset, as it is named."""
    start = offset - offset % SIZE
    here = [n for n in range(start, start + SIZE) if n % 5]
    at = here.index(offset) // 32 * 32
    mine = here[at : at + 32]
    assert len(mine) <= 32
    return f"{name(mine[0])} to {name(mine[-1])}"


@pytest.fixture(scope="module")
def archive() -> Archive:
    return Archive.of(mixed(), SIZE, whole=True)


def test_an_untouched_archive_has_no_findings(archive: Archive) -> None:
    progress = Progress()
    assert archive.findings(progress=progress) == []
    assert (progress.rows, progress.outside, progress.entries) == (60, 240, 3)


@pytest.mark.parametrize(
    "column", [n for n in METADATA.names if n not in ("stream", "partition", "offset", "index", "month")]
)
def test_a_change_in_any_column_names_its_group(archive: Archive, column: str) -> None:
    values = archive.changed()
    old, kind = values[VICTIM][column], METADATA.field(column).type
    if isinstance(old, bool) or pa.types.is_boolean(kind):
        new: Any = not old
    elif old is None:
        new = b"x" * 32 if column == "integrity_hash" else _first(kind)
    elif isinstance(old, int | Decimal):
        new = old + type(old)(1)
    elif isinstance(old, str):
        new = chr(ord(old[0]) ^ 1) + old[1:]
    else:
        new = old + timedelta(microseconds=1)
    values[VICTIM][column] = new
    found = archive.findings(values)
    if column == "integrity_hash":
        assert (str(Kind.ADDED), name(VICTIM)) in told(found)
        assert (str(Kind.ALTERED), name(VICTIM)) in told(found)
    else:
        assert told(found) == [(str(Kind.ALTERED), group_of(VICTIM))]
        assert found[0].file == "part-1.parquet"


def _first(kind: pa.DataType) -> Any:
    if pa.types.is_integer(kind):
        return 1
    if pa.types.is_decimal(kind):
        return Decimal(1)
    return row(0)["event_time"] if pa.types.is_timestamp(kind) else "x"


def test_a_value_that_was_removed_is_found(archive: Archive) -> None:
    values = archive.changed()
    values[VICTIM]["price"] = None
    assert told(archive.findings(values)) == [(str(Kind.ALTERED), group_of(VICTIM))]


def test_a_row_that_is_missing_is_named_and_those_beside_it_are_not_proven(archive: Archive) -> None:
    values = [value for value in archive.changed() if value["offset"] != VICTIM]
    assert told(archive.findings(values)) == [
        (str(Kind.NOT_PROVEN), group_of(VICTIM)),
        (str(Kind.MISSING), name(VICTIM)),
    ]


def test_a_row_that_was_added_or_doubled_is_named(archive: Archive) -> None:
    extra = row(VICTIM, 3, integrity_hash=None)
    assert told(archive.findings([*archive.changed(), extra])) == [(str(Kind.ADDED), f"{name(VICTIM)}/3")]
    twice = [*archive.changed(), archive.changed()[VICTIM]]
    assert told(archive.findings(twice)) == [(str(Kind.DUPLICATED), name(VICTIM))]


def test_a_row_beyond_the_log_or_between_its_commits_is_named(archive: Archive) -> None:
    beyond = [*archive.changed(), row(COUNT + 1, integrity_hash=None)]
    assert told(archive.findings(beyond)) == [(str(Kind.ADDED), name(COUNT + 1))]
    later = Archive.of(mixed(100, 10), 100)
    assert told(later.findings([*later.changed(), row(1, integrity_hash=None)])) == [
        (str(Kind.ADDED), name(1))
    ]


def test_a_row_whose_hash_was_removed_is_said_once(archive: Archive) -> None:
    values = archive.changed()
    values[40]["integrity_hash"] = None
    assert told(archive.findings(values)) == [(str(Kind.ALTERED), name(40))]


def test_what_happened_to_a_row_in_scope_leaves_those_beside_it_proven(archive: Archive) -> None:
    values = archive.changed()
    values[40]["price"] = Decimal(7)
    assert told(archive.findings(values)) == [(str(Kind.ALTERED), name(40))]


def test_a_row_without_a_canonical_form_is_altered(archive: Archive) -> None:
    whole = table(archive.changed())
    at = whole.column_names.index("price")
    prices = whole.column("price").to_pylist()
    prices[VICTIM] = Decimal("12345678901234567890")
    wide = whole.set_column(at, "price", pa.array(prices, pa.decimal128(38, 6)))
    found = list(verify_archive(archive.log, lambda _first, _last: [("part-1.parquet", wide)]))
    assert {finding.kind for finding in found} >= {Kind.ALTERED}


def test_the_order_of_rows_and_their_files_does_not_matter(archive: Archive) -> None:
    values = archive.changed()[::-1]
    assert archive.findings(values) == []
    parts = [source(values[n::3], f"part-{n}.parquet") for n in range(3)]
    found = verify_archive(archive.log, lambda first, last: [p for part in parts for p in part(first, last)])
    assert list(found) == []


@pytest.mark.parametrize("damage", ["missing", "altered", "cut"])
def test_a_file_of_rows_out_of_scope_that_is_gone_or_altered_is_named(damage: str) -> None:
    archive = Archive.of(mixed(), SIZE)
    path = outside.outside_path(100)
    if damage == "missing":
        del archive.store.objects[path]
    else:
        data = archive.store.objects[path]
        archive.store.objects[path] = data[:-1] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1])
    (found,) = archive.findings()
    assert (found.kind, found.where) == (Kind.NOT_PROVEN, f"{ORIGIN} {path}")
    values = archive.changed()
    values[VICTIM + 100]["status"] = "REJECTED"
    (found,) = archive.findings(values)
    assert found.kind is Kind.NOT_PROVEN
    assert "rows out of scope differ from the log, and cannot be named" in found.detail


def test_commits_of_several_months_are_proven_month_by_month() -> None:
    days = [
        row(n, event_time=row(0)["event_time"] + timedelta(days=n), integrity_hash=None) for n in range(90)
    ]
    archive = Archive.of(days, 90)
    assert archive.findings() == []
    kept = [value for value in archive.changed() if value["month"] >= "2026-03"]
    assert archive.findings(kept, months=Months(first=Month(2026, 3))) == []
    assert archive.findings(kept, months=Months(first=Month(2026, 2)))
    kept[3]["price"] = Decimal(1)
    (found,) = archive.findings(kept, months=Months(first=Month(2026, 3)))
    assert found.kind is Kind.ALTERED
    swapped = archive.changed()
    swapped[5]["event_time"] = swapped[50]["event_time"]
    swapped[5]["month"] = swapped[50]["month"]
    assert (str(Kind.ALTERED), name(5)) in told(
        archive.findings(swapped, months=Months(first=Month(2026, 2)))
    )


def test_an_entry_of_version_1_says_nothing_of_rows_out_of_scope() -> None:
    archive = Archive.of(mixed(), SIZE, declarations=None)
    values = archive.changed()
    values[VICTIM]["price"] = Decimal(7)
    progress = Progress()
    assert archive.findings(values, progress=progress) == []
    assert progress.outside == 0


def test_the_root_is_that_of_the_specification(archive: Archive) -> None:
    rows = [value for value in mixed(100) if value["integrity_hash"] is None]
    forms = [encode(table([value])).data for value in rows]
    groups = [merkle.leaf_hash(b"".join(forms[at : at + 32])) for at in range(0, len(forms), 32)]
    entry = archive.log.entry(0)
    assert entry.outside is not None
    assert entry.outside.commitment == outside.OutsideCommitment(80, merkle.root(groups))
    (part,) = outside.decode(archive.log.outside_file(entry), 0)
    assert part.groups == groups
    assert part.positions == [(value["offset"], None) for value in rows]


def test_it_is_about_two_bytes_a_row() -> None:
    (commit,) = commits([row(n, integrity_hash=None) for n in range(2000)], 2000)
    assert len(commit.outside_file) < 2.1 * 2000


def test_an_entry_is_read_back_as_it_was_written(archive: Archive) -> None:
    for entry in archive.log.entries():
        assert Entry.parse(bytes(entry)) == entry
    entry = archive.log.entry(0)
    assert entry.outside is not None
    empty = outside.NO_ROWS
    for bad in (
        replace(entry, outside=replace(entry.outside, months=None)),
        replace(entry, outside=replace(Outside.of(empty), months=entry.outside.months)),
        replace(entry, declarations=entry.declarations * 2),
    ):
        with pytest.raises(IntegrityError, match="contradicts itself"):
            Entry.parse(bytes(bad))
    for cut in (bytes(entry)[:-1], bytes(entry) + b"x"):
        with pytest.raises(IntegrityError, match="wrong length"):
            Entry.parse(cut)


def test_a_position_twice_is_refused_at_the_commit() -> None:
    with pytest.raises(LetheError, match="position is there twice"):
        commits([row(1, integrity_hash=None), row(1, integrity_hash=None)], 2)


@pytest.mark.parametrize(
    "data",
    [
        b"\x02",
        b"\x03\x00",
        b"\x03" + (24313).to_bytes(4, "little") + b"\x01",
        b"\x03" + (1).to_bytes(4, "little") + b"\x01\x00" + bytes(32),
        b"\x03" + (24313).to_bytes(4, "little") + b"\x01\x00" + bytes(31),
        (b"\x03" + (24313).to_bytes(4, "little") + b"\x01\x00" + bytes(32)) * 2,
    ],
)
def test_what_is_no_file_of_rows_out_of_scope_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        outside.decode(data, 0)


HEAD = b"\x04\x01" + (24312).to_bytes(4, "little") + b"\x03\x90\x03" + bytes(range(32))


def test_what_a_file_says_of_data_files_stands_as_specified() -> None:
    """Written by hand from docs/integrity.md, section 4: three rows, 400 of any kind in the data file."""
    rows = table([row(n, integrity_hash=None, original_form=None) for n in (4, 5, 6)])
    (made,) = outside.commit_outside([(rows, 4)])
    ((month, count),) = made.counts
    assert (month.year * 12 + month.number - 1, count) == (24312, 3)
    said = made.in_files({month: (400, bytes(range(32)))})
    assert said.file == HEAD + made.file
    assert said.commitment == made.commitment
    assert outside.decode(said.file, 4) == outside.decode(made.file, 4)
    assert outside.held_in(said.file) == [outside.Held(month, 3, 400, bytes(range(32)))]
    assert made.in_files({month.plus(1): (400, bytes(32))}) == made
    assert outside.held_in(made.file) == outside.held_in(b"") == []


@pytest.mark.parametrize(
    "head",
    [
        b"\x04",
        b"\x04\x00",
        HEAD[:-1],
        HEAD[:2] + bytes(4) + HEAD[6:],
        HEAD[:6] + b"\x02" + HEAD[7:],
        HEAD[:6] + b"\x03\x02" + HEAD[9:],
        b"\x04\x02" + HEAD[2:] + HEAD[2:],
        HEAD + HEAD,
    ],
)
def test_what_is_wrongly_said_of_data_files_is_refused(head: bytes) -> None:
    rows = table([row(n, integrity_hash=None, original_form=None) for n in (4, 5, 6)])
    (made,) = outside.commit_outside([(rows, 4)])
    with pytest.raises(IntegrityError):
        outside.decode(head + made.file, 4)


def test_a_new_column_that_is_null_changes_no_hash() -> None:
    rows = table(mixed(64))
    (with_it,) = outside.commit_outside([(rows, 0)])
    empty = [
        name for name in COLUMNS if name not in ("index", "integrity_hash") and rows[name].null_count == 64
    ]
    assert empty
    (without,) = outside.commit_outside([(rows.drop_columns(empty), 0)])
    assert with_it == without


def test_the_finding_says_what_is_known(archive: Archive) -> None:
    values = archive.changed()
    values[VICTIM]["status"] = "REJECTED"
    assert archive.findings(values) == [
        Finding(
            Kind.ALTERED,
            group_of(VICTIM),
            "of the 32 rows out of scope here one or more are not as logged; which cannot be told",
            "part-1.parquet",
        )
    ]
