"""What can be told of rows that are proven together: that some are not as logged, and which are not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pytest
from integrity_samples import Archive, Row, name, row, rows, source, table, told

from lethe.integrity.evidence.check import check
from lethe.integrity.log.entries import Entry
from lethe.integrity.log.leaves import decode, encode_whole
from lethe.integrity.log.store import MemoryStore
from lethe.integrity.verify.archive import verify_archive
from lethe.integrity.verify.findings import Kind
from lethe.integrity.verify.row_batch import Months
from lethe.integrity.verify.whole import Known, keep, whole_path
from lethe.schemas.errors import IntegrityError
from lethe.schemas.retention.calendar import Month

SIZES = [1, 2, 31, 32, 33, 64, 65]


@pytest.fixture(scope="module")
def archive() -> Archive:
    return Archive.of(rows(100), 100)


def altered(values: list[Row], *offsets: int) -> list[Row]:
    return [value | {"status": "X"} if value["offset"] in offsets else value for value in values]


def without(values: list[Row], *offsets: int) -> list[Row]:
    return [value for value in values if value["offset"] not in offsets]


def group(*offsets: int) -> str:
    """How findings name a group by its first and last row."""
    return " to ".join(name(offset) for offset in offsets)


@pytest.mark.parametrize("count", SIZES)
def test_of_one_row_that_is_not_as_logged_its_group_is_named(count: int) -> None:
    archive = Archive.of(rows(count), count)
    assert archive.findings() == []
    for victim in range(count):
        first, last = victim // 32 * 32, min(victim // 32 * 32 + 31, count - 1)
        alone = first == last
        where = name(victim) if alone else group(first, last)
        assert told(archive.findings(altered(archive.rows, victim))) == [("altered", where)]
        found = told(archive.findings(without(archive.rows, victim)))
        assert found[-1] == ("missing", name(victim))
        assert [kind for kind, _ in found[:-1]] == ([] if alone else ["not proven"])


def test_one_row_in_every_group(archive: Archive) -> None:
    found = archive.findings(altered(archive.rows, 0, 63, 64, 99))
    groups = [group(0, 31), group(32, 63), group(64, 95), group(96, 99)]
    assert told(found) == [("altered", where) for where in groups]


def test_of_two_altered_rows_in_a_group_the_group_is_named(archive: Archive) -> None:
    (found,) = archive.findings(altered(archive.rows, 33, 60))
    assert (found.kind, found.where, found.file) == (
        Kind.ALTERED,
        f"{name(32)} to {name(63)}",
        "part-1.parquet",
    )
    assert found.detail == "of the 32 rows in scope here one or more are not as logged; which cannot be told"
    told_twice = told(archive.findings(altered(archive.rows, 33, 60, 70)))
    assert sorted(told_twice) == [("altered", group(32, 63)), ("altered", group(64, 95))]


def test_one_altered_and_one_missing_in_a_group(archive: Archive) -> None:
    found = archive.findings(without(altered(archive.rows, 33), 60))
    assert told(found) == [("not proven", group(32, 63)), ("missing", name(60))]
    assert "the 31 rows in scope here changed cannot be told: 1 others" in found[0].detail


def test_two_missing_rows_are_named_and_the_others_are_not_proven(archive: Archive) -> None:
    found = archive.findings(without(archive.rows, 40, 41))
    assert told(found) == [
        ("not proven", f"{name(32)} to {name(63)}"),
        ("missing", name(40)),
        ("missing", name(41)),
    ]
    assert "the 30 rows in scope here" in found[0].detail
    assert told(archive.findings(without(archive.rows, *range(33, 64))))[0] == ("not proven", name(32))
    assert told(archive.findings(without(archive.rows, *range(32, 64)))) == [
        ("missing", name(offset)) for offset in range(32, 64)
    ]


def test_hashes_removed_are_named_one_by_one(archive: Archive) -> None:
    values = archive.changed()
    for offset in (33, 34):
        values[offset]["integrity_hash"] = None
    assert sorted(told(archive.findings(values))) == [
        ("altered", name(33)),
        ("altered", name(34)),
        ("not proven", f"{name(32)} to {name(63)}"),
    ]


@pytest.mark.parametrize("moved", [(40,), (40, 41), (40, 41, 50)])
def test_rows_moved_from_one_group_are_missing_and_added(archive: Archive, moved: tuple[int, ...]) -> None:
    values = archive.changed()
    for offset in moved:
        values[offset]["offset"] = offset + 1_000
    assert told(archive.findings(values)) == [
        ("not proven", group(32, 63)),
        *(("missing", name(offset)) for offset in moved),
        *(("added", name(offset + 1_000)) for offset in moved),
    ]


def test_two_rows_at_a_position_are_named_and_so_is_the_group_unless_they_are_the_same(
    archive: Archive,
) -> None:
    assert told(archive.findings([*archive.rows, archive.rows[33]])) == [("duplicated", name(33))]
    wrong = altered(archive.rows, 33)[33]
    for values in ([*archive.rows, wrong], [wrong, *archive.rows]):
        assert told(archive.findings(values)) == [("duplicated", name(33)), ("altered", group(32, 63))]


def test_rows_without_a_canonical_form_are_named(archive: Archive) -> None:
    # Who can write a file can leave a value in it that no row may have.
    def read(first: int, last: int | None) -> Iterator[tuple[str | None, pa.Table]]:
        for file, part in source(archive.rows)(first, last):
            channels = part.column("channel").to_pylist()
            for at, offset in enumerate(part.column("offset").to_pylist()):
                if offset in (33, 40):
                    channels[at] = None
            field = part.schema.field("channel").with_nullable(True)
            yield (
                file,
                part.set_column(part.column_names.index("channel"), field, pa.array(channels, pa.string())),
            )

    assert sorted(told(verify_archive(archive.log, read))) == [
        ("altered", name(33)),
        ("altered", name(40)),
        ("not proven", f"{name(32)} to {name(63)}"),
    ]


@pytest.mark.parametrize("count", [2, 100])
@pytest.mark.parametrize("moved", [True, False])
def test_a_row_without_form_before_another_at_its_position_is_named_once(count: int, moved: bool) -> None:
    archive = Archive.of(rows(count), count)
    values = archive.changed()
    values[1]["offset"] = 1_001
    values = values if moved else without(altered(values, 0), 1_001)

    def read(first: int, last: int | None) -> Iterator[tuple[str | None, pa.Table]]:
        bare = table([row(0)])
        at = bare.column_names.index("channel")
        field = bare.schema.field(at).with_nullable(True)
        if first == 0:
            yield "bare", bare.set_column(at, field, pa.nulls(1, pa.string()))
        yield from source(values)(first, last)

    found = told(verify_archive(archive.log, read))
    assert found.count(("altered", name(0))) == 1
    assert len(found) == len(set(found))


def test_a_month_that_is_not_compared(archive: Archive) -> None:
    later = Months(first=Month(2026, 2))
    assert archive.findings([], months=later) == []
    values = archive.changed()
    values[3]["event_time"] = values[3]["event_time"].replace(month=3)
    assert ("altered", name(3)) in told(archive.findings(values[:10], months=later))


# -- evidence ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", SIZES)
def test_evidence_is_the_same_from_groups_and_from_all_leaf_hashes(count: int) -> None:
    grouped = Archive.of(rows(count), count)
    whole = Archive.of(rows(count), count, grouped.signer, whole=True)
    keys = [str(key) for key in grouped.signer.history.sets[0].keys]
    for offset in {0, count // 2, count - 1}:
        one, other = (found.evidence(table([row(offset)])) for found in (grouped, whole))
        assert check(one, keys).record == name(offset)
        assert (
            one.split(b'"row_proof"')[1].split(b'"entry"')[0]
            == other.split(b'"row_proof"')[1].split(b'"entry"')[0]
        )


def test_evidence_with_rows_of_other_groups_damaged(archive: Archive) -> None:
    for values in (altered(archive.rows, 2, 3, 70, 71), without(archive.rows, 2, 70)):
        assert replace(archive, rows=values).evidence(table([row(33)]))


def test_evidence_with_another_row_of_the_group_damaged(archive: Archive) -> None:
    for values in (
        altered(archive.rows, 40),
        without(archive.rows, 40),
        without(altered(archive.rows, 40), 50),
    ):
        with pytest.raises(IntegrityError, match=r"cannot be proven.*32 to 63.*lethe verify.*backup"):
            replace(archive, rows=values).evidence(table([row(33)]))


def test_evidence_of_a_damaged_row(archive: Archive) -> None:
    with pytest.raises(IntegrityError, match=rf"{name(33)} cannot be proven.*one or more are not"):
        replace(archive, rows=altered(archive.rows, 33)).evidence(table([row(33, status="X")]))
    bare = table([row(33)])
    at = bare.column_names.index("channel")
    bare = bare.set_column(at, bare.schema.field(at).with_nullable(True), pa.nulls(1, pa.string()))
    with pytest.raises(IntegrityError, match=f"archive row of {name(33)} is altered"):
        archive.evidence(bare)


# -- all leaf hashes, kept beside --------------------------------------------------------------------------------


def kept(archive: Archive, values: list[Row]) -> tuple[Archive, Entry, str]:
    """A copy of an archive, with all leaf hashes kept while it holds these rows."""
    store = MemoryStore(archive.store.objects)
    copy = replace(archive, store=store, rows=values)
    (entry,) = copy.log.entries()
    keep(store, copy.log, entry, Known.of(copy.log, entry), table(values))
    return copy, entry, whole_path(copy.log.origin, entry)


def test_with_all_hashes_kept_every_row_is_judged_by_itself(archive: Archive) -> None:
    copy, entry, path = kept(archive, archive.rows)
    assert path == "leaves/000.whole"
    whole = decode(copy.store.objects[path], entry.first_offset)
    assert whole.whole
    assert whole.root() == entry.commitment.root
    values = without(altered(archive.rows, 50, 51), *range(32, 48))
    assert told(copy.findings(values)) == [
        ("altered", name(50)),
        ("altered", name(51)),
        *(("missing", name(offset)) for offset in range(32, 48)),
    ]
    assert replace(copy, rows=[row(60)]).evidence(table([row(60)]))
    with pytest.raises(IntegrityError, match="altered"):
        replace(copy, rows=[row(60)]).evidence(table([row(60, status="X")]))


def test_what_is_kept_beside_is_believed_only_as_far_as_it_leads_to_the_root(archive: Archive) -> None:
    copy, entry, path = kept(archive, archive.rows)
    good = copy.store.objects[path]
    two = altered(archive.rows, 33, 60)
    assert told(copy.findings(two)) == [("altered", name(33)), ("altered", name(60))]
    whole = decode(good, 0)
    forged = [group.root for group in whole.groups]
    forged[40] = bytes([forged[40][0] ^ 1]) + forged[40][1:]
    elsewhere = [replace(r, offset=r.offset + 1) for r in whole.rows]
    for bad in (
        b"",
        b"\xff" * 50,
        good[:-1],
        copy.store.objects["leaves/000"],
        encode_whole(whole.rows, forged, 0),
        encode_whole(elsewhere, [group.root for group in whole.groups], 0),
    ):
        copy.store.objects[path] = bad
        assert told(copy.findings(two)) == [("altered", f"{name(32)} to {name(63)}")]
        assert copy.findings() == []
        # It is made anew from the rows.
        keep(copy.store, copy.log, entry, Known.of(copy.log, entry), table(archive.rows))
        assert copy.store.objects[path] == good


def test_a_group_that_cannot_be_told_is_left_out_and_filled_in_later(archive: Archive) -> None:
    copy, entry, path = kept(archive, altered(archive.rows, 33, 60))
    partly = copy.store.objects[path]
    assert set(Known.of(copy.log, entry).kept) == {0, 2, 3}
    assert told(copy.findings(altered(archive.rows, 3, 4))) == [("altered", name(3)), ("altered", name(4))]
    # When rows are gone, nothing that was kept is lost.
    keep(copy.store, copy.log, entry, Known.of(copy.log, entry), table(archive.rows[90:]))
    assert copy.store.objects[path] == partly
    keep(copy.store, copy.log, entry, Known.of(copy.log, entry), table(archive.rows[32:64]))
    assert set(Known.of(copy.log, entry).kept) == {0, 1, 2, 3}


def test_two_who_keep_hashes_at_once_end_with_the_same(archive: Archive) -> None:
    class Raced(MemoryStore):
        def swap(self, path: str, old: bytes | None, new: bytes) -> None:
            if path.endswith(".whole"):
                self.objects.setdefault(path, new)
            super().swap(path, old, new)

    store = Raced(archive.store.objects)
    copy = replace(archive, store=store)
    (entry,) = copy.log.entries()
    keep(store, copy.log, entry, Known.of(copy.log, entry), table(archive.rows))
    assert len(Known.of(copy.log, entry).kept) == 4
