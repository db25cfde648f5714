"""Every attack on the archive is found, and what was attacked is named."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from integrity_samples import (
    NAME,
    NOW,
    ORIGIN,
    PARTITION,
    STREAM,
    Archive,
    Row,
    commits,
    name,
    row,
    rows,
    source,
    told,
)

from lethe.integrity.log.publish import publish
from lethe.integrity.log.signing import Signer
from lethe.integrity.rows.canonical_rows import COLUMNS
from lethe.integrity.rows.canonical_rows import Kind as RowKind
from lethe.integrity.verify.archive import Progress, verify_archive
from lethe.integrity.verify.findings import Finding, Kind, require_none
from lethe.integrity.verify.row_batch import Months, Rows
from lethe.schemas.errors import IntegrityError
from lethe.schemas.retention.calendar import Month

VICTIM = 12
_SOME: dict[RowKind, Any] = {
    RowKind.INT64: 5,
    RowKind.DECIMAL: Decimal(1),
    RowKind.BOOLEAN: True,
    RowKind.TIMESTAMP: datetime(2026, 1, 1, tzinfo=UTC),
}


@pytest.fixture(scope="module")
def archive() -> Archive:
    """Commits of five rows whose leaf hashes are all known: what is known of groups is in `test_leaf_groups`."""
    return Archive.of(rows(40), 5, whole=True)


def test_an_untouched_archive_has_no_findings(archive: Archive) -> None:
    ticks: list[int] = []
    progress = Progress(tick=lambda now: ticks.append(now.rows))
    assert archive.findings(progress=progress) == []
    assert (progress.rows, progress.entries) == (40, 8)
    assert ticks == [40]


@pytest.mark.parametrize(
    "column", [c for c in COLUMNS if c not in ("stream", "partition", "offset", "index")]
)
def test_a_change_in_any_column_is_found(archive: Archive, column: str) -> None:
    values = archive.changed()
    old = values[VICTIM][column]
    if isinstance(old, bool):
        new: Any = not old
    elif isinstance(old, (int, Decimal)):
        new = old + type(old)(1)
    elif isinstance(old, bytes):
        new = bytes([old[0] ^ 1]) + old[1:]
    elif isinstance(old, str):
        new = chr(ord(old[0]) ^ 1) + old[1:]
    elif old is None:
        new = _SOME.get(COLUMNS[column][1], "x")
    else:
        new = old + timedelta(microseconds=1)
    values[VICTIM][column] = new
    assert archive.findings(values) == [
        Finding(Kind.ALTERED, name(VICTIM), "it is not the row that was logged", "part-1.parquet")
    ]


@pytest.mark.parametrize("column", [c for c in COLUMNS if row(VICTIM)[c] is not None])
def test_a_value_that_was_removed_is_found(archive: Archive, column: str) -> None:
    values = archive.changed()
    values[VICTIM][column] = None
    found = archive.findings(values)
    if column == "offset":
        assert told(found) == [("missing", name(VICTIM))]
    elif column in ("stream", "partition"):
        assert told(found) == [("altered", "part-1.parquet"), ("missing", name(VICTIM))]
        assert "lost their position" in found[0].detail
    else:
        assert told(found) == [("altered", name(VICTIM))]


@pytest.mark.parametrize("column", ["offset", "price", "surprise"])
def test_a_file_whose_columns_were_changed_is_named(archive: Archive, column: str) -> None:
    def read(first: int, last: int | None) -> Iterable[tuple[str | None, pa.Table]]:
        for file, part in files(("good", archive.rows[5:]), ("bad", archive.rows[:5]))(first, last):
            texts = pa.array(["0"] * part.num_rows)
            if file == "good":
                yield file, part
            elif column in part.column_names:
                yield file, part.set_column(part.column_names.index(column), column, texts)
            else:
                yield file, part.append_column(column, texts)

    found = list(verify_archive(archive.log, read))
    assert ("altered", "bad") in told(found)
    assert {finding.where for finding in found if finding.kind == "missing"} == {name(n) for n in range(5)}


def test_a_row_that_was_dropped_is_named(archive: Archive) -> None:
    values = archive.changed()
    del values[VICTIM]
    assert told(archive.findings(values)) == [("missing", name(VICTIM))]


def test_a_whole_file_that_was_dropped_is_named_row_by_row(archive: Archive) -> None:
    found = told(archive.findings(archive.rows[:8] + archive.rows[17:]))
    assert [one for one in found if one[0] == "missing"] == [
        ("missing", name(offset)) for offset in range(8, 17)
    ]
    assert [one for one in found if one[0] != "missing"] == []
    assert told(archive.findings([])) == [("missing", name(offset)) for offset in range(40)]


@pytest.mark.parametrize(
    ("added", "detail"),
    [
        (row(12, 1), "logged without it"),
        (row(1_000), "after the last entry"),
    ],
)
def test_a_row_that_was_added_is_named(archive: Archive, added: Row, detail: str) -> None:
    (found,) = archive.findings([*archive.rows, added])
    assert found.kind is Kind.ADDED
    assert detail in found.detail
    assert found.where == name(added["offset"]) + ("/1" if added["index"] else "")


def test_a_row_added_between_commits_is_named() -> None:
    archive = Archive.of([row(offset) for offset in (0, 1, 2, 10, 11, 12)], 3)
    assert archive.findings() == []
    (found,) = archive.findings([*archive.rows, row(5)])
    assert (found.kind, found.where) == (Kind.ADDED, name(5))
    assert "no commit" in found.detail


def test_a_row_that_is_there_twice_is_named(archive: Archive) -> None:
    (found,) = archive.findings([*archive.rows, archive.rows[VICTIM]])
    assert (found.kind, found.where) == (Kind.DUPLICATED, name(VICTIM))
    values = archive.changed()
    values.append(values[VICTIM] | {"status": "OTHER"})
    assert ("duplicated", name(VICTIM)) in told(archive.findings(values))


@pytest.mark.parametrize("offset", [14, 27, 3_000])
def test_a_row_that_was_moved_to_another_commit_is_named(archive: Archive, offset: int) -> None:
    values = [value for value in archive.changed() if value["offset"] != offset]
    moved = next(value for value in values if value["offset"] == VICTIM)
    moved["offset"] = offset
    found = archive.findings(values)
    assert ("moved", name(VICTIM)) in told(found) or ("altered", name(offset)) in told(found)
    assert {where for _, where in told(found)} <= {name(VICTIM), name(offset)}


def test_a_row_that_only_changed_its_place_in_an_envelope_is_moved(archive: Archive) -> None:
    values = archive.changed()
    values[VICTIM]["index"] = 7
    (found,) = archive.findings(values)
    assert (found.kind, found.where) == (Kind.MOVED, name(VICTIM))
    assert f"{name(VICTIM)}/7" in found.detail


def test_rows_that_changed_places_are_both_named(archive: Archive) -> None:
    values = archive.changed()
    values[3]["offset"], values[33]["offset"] = 33, 3
    assert sorted(told(archive.findings(values))) == [("altered", name(3)), ("altered", name(33))]


def test_a_row_taken_out_of_scope_is_altered(archive: Archive) -> None:
    values = archive.changed()
    values[VICTIM]["integrity_hash"] = None
    (found,) = archive.findings(values)
    assert (found.kind, found.where) == (Kind.ALTERED, name(VICTIM))
    assert "integrity_hash was removed" in found.detail


def test_a_row_put_under_another_month_is_named(archive: Archive) -> None:
    values = archive.changed()
    for month in ("2026-02", "1999-01", "nonsense", ""):
        values[VICTIM]["month"] = month
        (found,) = archive.findings(values)
        assert (found.kind, found.where, found.file) == (Kind.MOVED, name(VICTIM), "part-1.parquet")


def test_an_earlier_log_says_nothing_of_rows_out_of_scope_in_its_commits() -> None:
    archive = Archive.of(rows(40), 5, declarations=None)
    outside = [row(offset, 3, integrity_hash=None) for offset in (5, 17)]
    assert archive.findings([*archive.rows, *outside]) == []
    (found,) = archive.findings([*archive.rows, row(999, integrity_hash=None)])
    assert (found.kind, found.where) == (Kind.ADDED, name(999))


def files(*parts: tuple[str, list[Row]]) -> Rows:
    """An archive of several files."""
    readers = [source(values, file) for file, values in parts]

    def read(first: int, last: int | None) -> Iterable[tuple[str | None, pa.Table]]:
        for reader in readers:
            yield from reader(first, last)

    return read


def test_compaction_changes_nothing(archive: Archive) -> None:
    shuffled = random.Random(7).sample(archive.rows, 40)
    compacted = files(("c-1", shuffled[:9]), ("c-2", shuffled[9:31]), ("c-3", shuffled[31:]))
    assert list(verify_archive(archive.log, compacted)) == []


def test_a_file_put_back_to_an_older_one_is_named(archive: Archive) -> None:
    old = archive.changed()[5:15]
    old[3]["status"] = "PENDING"
    put_back = files(("a", archive.rows[:5]), ("b-old", old), ("c", archive.rows[15:]))
    (found,) = verify_archive(archive.log, put_back)
    assert (found.kind, found.where, found.file) == (Kind.ALTERED, name(8), "b-old")

    both = files(("a", archive.rows), ("b-old", archive.rows[5:8]))
    found_both = list(verify_archive(archive.log, both))
    assert told(found_both) == [("duplicated", name(offset)) for offset in (5, 6, 7)]


def test_files_written_before_a_column_was_added_are_still_right(archive: Archive) -> None:
    def read(first: int, last: int | None) -> Iterable[tuple[str | None, pa.Table]]:
        for file, part in files(("old", archive.rows[:20]), ("new", archive.rows[20:]))(first, last):
            yield file, part.drop_columns(["redacted", "recipient"]) if file == "old" else part

    assert list(verify_archive(archive.log, read)) == []


def test_batches_are_seams_that_nobody_sees(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lethe.integrity.verify.archive.BATCH_ROWS", 7)
    monkeypatch.setattr("lethe.integrity.verify.row_batch.CHUNK_ROWS", 3)
    asked: list[tuple[int, int | None]] = []

    def read(first: int, last: int | None) -> Iterable[tuple[str | None, pa.Table]]:
        asked.append((first, last))
        return source(archive.rows)(first, last)

    assert list(verify_archive(archive.log, read)) == []
    assert asked == [(0, 9), (10, 19), (20, 29), (30, 39), (40, None)]
    values = archive.changed()
    values[VICTIM]["status"] = "X"
    assert told(archive.findings(values)) == [("altered", name(VICTIM))]


@pytest.fixture(scope="module")
def years() -> Archive:
    """Rows of 2024 to 2027, three a year, several years to a commit."""
    times = [row(0)["event_time"].replace(year=2024 + (offset * 3 + offset // 4) % 4) for offset in range(12)]
    return Archive.of([row(offset, event_time=time) for offset, time in enumerate(times)], 5)


def test_rows_that_have_outlived_the_archive_are_not_missed(years: Archive) -> None:
    kept = [value for value in years.rows if value["month"] >= "2026-01"]
    assert 3 < len(kept) < 9
    held = Months(first=Month(2026, 1))
    assert years.findings(kept, months=held) == []
    assert years.findings(years.rows, months=held) == []
    assert [kind for kind, _ in told(years.findings(kept))] == ["missing"] * (12 - len(kept))


def test_what_is_left_of_a_commit_is_still_proven(years: Archive) -> None:
    held = Months(first=Month(2026, 1))
    kept = [dict(value) for value in years.rows if value["month"] >= "2026-01"]
    victim = kept[2]["offset"]
    assert told(years.findings(kept[:2] + kept[3:], months=held)) == [("missing", name(victim))]
    kept[2]["status"] = "X"
    assert told(years.findings(kept, months=held)) == [("altered", name(victim))]


def test_a_row_is_not_hidden_by_giving_it_an_expired_month(years: Archive) -> None:
    held = Months(first=Month(2026, 1))
    values = years.changed()
    victim = next(value for value in values if value["month"] >= "2026-01")
    victim["event_time"] = victim["event_time"].replace(year=2020)
    victim["month"] = "2020-01"
    assert told(years.findings(values, months=held)) == [("missing", name(victim["offset"]))]


def test_only_the_months_asked_for_are_compared(years: Archive) -> None:
    values = years.changed()
    for value in values:
        if not value["month"].startswith("2025"):
            value["status"] = "X"
    assert years.findings(values, months=Months(Month(2025, 1), Month(2025, 12))) == []
    assert len(years.findings(values)) == sum(not value["month"].startswith("2025") for value in values)


def test_commits_after_the_pinned_table_are_left_out(archive: Archive) -> None:
    assert archive.findings(archive.rows[:20], version=3) == []
    assert told(archive.findings(archive.rows[:19], version=3)) == [("missing", name(19))]


def tampered(archive: Archive, path: str, data: bytes | None) -> Archive:
    store = type(archive.store)(archive.store.objects)
    if data is None:
        del store.objects[path]
    else:
        store.objects[path] = data
    return Archive(archive.signer, store, archive.rows, archive.commits)


def test_without_its_leaf_file_a_commit_is_named_instead_of_the_row(archive: Archive) -> None:
    values = archive.changed()
    values[VICTIM]["status"] = "X"
    for damage in (None, archive.commits[0].leaf_file):
        robbed = tampered(archive, "leaves/010", damage)
        (found,) = robbed.findings(values)
        assert found.kind is Kind.NOT_PROVEN
        assert found.where == f"{ORIGIN} offsets 10 to 14"
        assert "leaves/010" in found.detail


@pytest.mark.parametrize("data", [None, b"", b"something else"])
def test_a_leaf_file_is_missed_before_it_is_needed(archive: Archive, data: bytes | None) -> None:
    path = "leaves/010"
    (found,) = tampered(archive, path, data).findings()
    assert (found.kind, found.where) == (Kind.NOT_PROVEN, f"{ORIGIN} {path}")
    assert "bring it back from the backup" in found.detail
    assert tampered(archive, path, data).findings(months=Months(first=Month(2026, 2)), values=[]) == []


def test_rows_of_an_altered_log_entry_are_not_judged() -> None:
    archive = Archive.of(rows(300), 1)
    bundle = archive.store.objects["tile/entries/000"]
    robbed = tampered(archive, "tile/entries/000", bundle[:20] + b"\xff" + bundle[21:])
    found = robbed.findings()
    assert {finding.kind for finding in found} == {Kind.NOT_PROVEN}
    assert len(found) == 256
    assert all("entry 0 of the log" in finding.detail for finding in found)


def test_a_log_of_several_thousand_commits() -> None:
    archive = Archive.of(rows(1_000), 3, whole=True)
    values = archive.changed()
    values[777]["parts"] = 9
    del values[500]
    assert sorted(told(archive.findings(values))) == [("altered", name(777)), ("missing", name(500))]


def test_findings_can_be_demanded_to_be_none(archive: Archive) -> None:
    require_none(archive.findings())
    with pytest.raises(IntegrityError, match=f"{name(5)}: missing.*; and 5 more"):
        require_none(archive.findings(archive.rows[:5] + archive.rows[20:]))


def test_many_missing_rows_are_all_named(monkeypatch: pytest.MonkeyPatch, archive: Archive) -> None:
    monkeypatch.setattr("lethe.integrity.verify.locate.MOST_PENDING", 3)
    found = told(archive.findings(archive.rows[:10]))
    assert sorted(found) == sorted(("missing", name(offset)) for offset in range(10, 40))
    extra = [row(offset) for offset in range(50, 60)]
    found = told(archive.findings(archive.rows + extra))
    assert sorted(found) == sorted(("added", name(offset)) for offset in range(50, 60))


def test_a_second_digest_that_does_not_fit_is_noticed(archive: Archive) -> None:
    # As if SHA-256 were broken: a log whose root fits the rows, but not the SHA3-512 digest.
    signer = Signer.generate(NAME, NOW)
    (honest,) = commits(archive.rows[:5], 5)
    wrong = replace(honest.entry, commitment=replace(honest.entry.commitment, sha3_512=bytes(64)))
    broken = Archive.of(archive.rows[:5], 5, signer)
    broken.store.objects.clear()
    publish(broken.store, signer, STREAM, PARTITION, [replace(honest, entry=wrong)], NOW)
    (found,) = broken.findings()
    assert found.kind is Kind.ALTERED
    assert "SHA3-512" in found.detail
