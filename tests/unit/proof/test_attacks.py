"""Every attack on archive, log and evidence, on a real warehouse: each is found and named."""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from integrity_authority import Authority
from proof_world import NOW, SMS, World, backwards, changed, compact, name, read, without, write

from lethe.integrity.evidence import check as second
from lethe.integrity.log.checkpoint import Checkpoint
from lethe.integrity.log.commitment import commit_rows
from lethe.integrity.log.entries import LogCommit
from lethe.integrity.log.publish import publish
from lethe.integrity.log.signing import Signer
from lethe.integrity.rows.canonical_rows import COLUMNS
from lethe.integrity.verify.findings import Kind
from lethe.operations.intake.ingest import ingest
from lethe.schemas.errors import IntegrityError
from lethe.schemas.position import Position
from lethe.tiers.evidence.proof import evidence_of
from lethe.tiers.ledger.reconcile import check

STREAM, OTHER = "cdr.sms", "cdr.other"
Seen = list[bytes]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Seen]:
    """A warehouse of two topics and a file, its log published commit by commit; and the checkpoints seen on the way."""
    world = World(tmp_path_factory.mktemp("base"))
    seen = [world.feed(STREAM, 60, seed, malformed=0.05, envelope=0.1) for seed in (1, 2, 3, 4)]
    world.feed(OTHER, 80, 5)
    world.take_in("records.ndjson", 150, 6)
    world.take_in("nothing-in-scope.ndjson", 20, 7, pakistan=0.0)
    assert world.verify() == []
    return world, seen


@pytest.fixture
def world(base: tuple[World, Seen], tmp_path: Path) -> World:
    return base[0].copy(tmp_path)


@pytest.fixture
def seen(base: tuple[World, Seen]) -> Seen:
    return base[1]


def kinds(findings: list[Any]) -> set[tuple[Kind, str]]:
    return {(finding.kind, finding.where) for finding in findings}


def test_all_that_was_taken_in_is_compared(world: World) -> None:
    assert world.verify() == []
    assert world.report is not None
    assert world.report.rows == len(world.scoped()) > 100
    rows = sum(read(path).num_rows for path in world.archive_files())
    assert world.report.rows + world.report.outside == rows == world.report.expected
    assert world.report.silent == 0
    assert world.report.logs == 4
    assert world.report.entries == 4 + 1 + 2 + 1


OTHER_VALUES: dict[str, Any] = {
    "string": "X", "int32": 7, "int64": 77_777, "bool": None, "decimal128(18, 6)": Decimal("0.000001"),
}  # fmt: skip


def other_value(column: str, row: dict[str, Any], dtype: pa.DataType) -> Any:
    value = row[column]
    if column == "integrity_hash":
        return bytes([value[0] ^ 1]) + value[1:]
    if pa.types.is_timestamp(dtype):
        return (value or row["event_time"]) + timedelta(microseconds=1)
    if pa.types.is_boolean(dtype):
        return not value
    if pa.types.is_decimal(dtype):
        return (value or Decimal(0)) + Decimal("0.000001")
    if pa.types.is_integer(dtype):
        return (value or 0) + 1_000_000
    return f"{value or ''}X"


def test_a_value_changed_in_any_column_of_a_row_is_found_and_named(world: World) -> None:
    chance = random.Random(1)
    rows = [one for one in world.scoped() if one[2]["stream"] == STREAM]
    for column in COLUMNS:
        path, number, row = chance.choice(rows)
        before = path.read_bytes()
        table = read(path)
        value = other_value(column, row, table.schema.field(column).type)
        write(path, changed(table, number, column, value))
        found = world.verify()
        if column in ("stream", "partition"):  # it is another topic-partition's now
            assert (Kind.MISSING, name(row)) in kinds(found), column
            assert any(f.kind is Kind.ADDED and f.file and f.file.endswith(path.name) for f in found), column
        elif column in ("offset", "index"):
            assert (Kind.MOVED, name(row)) in kinds(found), column
        else:
            assert [(f.kind, f.where) for f in found] == [(Kind.ALTERED, name(row))], column
            assert found[0].file is not None
            assert found[0].file.endswith(path.name)
        path.write_bytes(before)
    assert world.verify() == []


def test_any_row_in_scope_is_protected(world: World) -> None:
    for path, number, row in random.Random(2).sample(world.scoped(), 12):
        before = path.read_bytes()
        write(path, changed(read(path), number, "price", (row["price"] or Decimal(0)) + 1))
        assert kinds(world.verify()) == {(Kind.ALTERED, name(row))}
        write(path, changed(read(path), number, "integrity_hash", None))
        assert (Kind.ALTERED, name(row)) in kinds(world.verify())
        path.write_bytes(before)


def test_a_row_dropped(world: World) -> None:
    path, number, row = world.scoped()[17]
    write(path, without(read(path), number))
    assert kinds(world.verify()) == {(Kind.MISSING, name(row))}


def test_a_row_added(world: World) -> None:
    path, number, row = world.scoped()[17]
    rows = read(path)
    new = changed(rows.slice(number, 1), 0, "index", 5)
    write(path, pa.concat_tables([rows, new]))
    assert kinds(world.verify()) == {
        (Kind.ADDED, f"{name(row)}/5" if row["index"] is None else name({**row, "index": 5}))
    }
    after = changed(rows.slice(number, 1), 0, "offset", 100_000)
    write(path, pa.concat_tables([rows, after]))
    assert kinds(world.verify()) == {(Kind.ADDED, name({**row, "offset": 100_000}))}


def test_a_row_of_a_topic_that_nobody_knows(world: World) -> None:
    path, number, _ = world.scoped()[17]
    rows = read(path)
    write(path, pa.concat_tables([rows, changed(rows.slice(number, 1), 0, "stream", "cdr.invented")]))
    assert kinds(world.verify()) == {(Kind.ADDED, "cdr.invented/0")}


def test_a_row_duplicated_in_its_file_and_in_another(world: World) -> None:
    path, number, row = world.scoped()[17]
    rows = read(path)
    write(path, pa.concat_tables([rows, rows.slice(number, 1)]))
    assert kinds(world.verify()) == {(Kind.DUPLICATED, name(row))}
    write(path, rows)
    elsewhere = next(p for p in world.archive_files() if p != path and p.parent == path.parent)
    write(elsewhere, pa.concat_tables([read(elsewhere), rows.slice(number, 1)]))
    assert kinds(world.verify()) == {(Kind.DUPLICATED, name(row))}


def test_a_row_moved_from_one_commit_to_another(world: World) -> None:
    rows = [one for one in world.scoped() if one[2]["stream"] == STREAM]
    path, number, row = rows[3]
    assert row["offset"] < 60
    write(path, changed(read(path), number, "offset", 200))
    found = world.verify()
    assert (Kind.MOVED, name(row)) in kinds(found)


def test_a_row_moved_to_the_partition_of_another_month(world: World) -> None:
    path, number, row = world.scoped()[17]
    elsewhere = next(p for p in world.archive_files() if p.parent != path.parent)
    write(elsewhere, pa.concat_tables([read(elsewhere), read(path).slice(number, 1)]))
    write(path, without(read(path), number))
    assert kinds(world.verify()) == {(Kind.MOVED, name(row))}


def test_a_file_replaced_by_an_older_one(world: World) -> None:
    files = [p for p in world.archive_files() if read(p)["stream"][0].as_py() == STREAM]
    older, newer = next((a, b) for a in files for b in files if a != b and a.parent == b.parent)
    lost = [name(r) for r in read(newer).to_pylist()]
    twice = [name(r) for r in read(older).to_pylist()]
    shutil.copy(older, newer)
    expected = {(Kind.MISSING, n) for n in lost} | {(Kind.DUPLICATED, n) for n in twice}
    found = world.verify()
    assert kinds(found) == expected
    assert lost
    assert twice


def test_a_file_removed_and_a_file_damaged(world: World) -> None:
    first, second = world.archive_files()[:2]
    gone = {(Kind.MISSING, name(r)) for p in (first, second) for r in read(p).to_pylist()}
    first.unlink()
    second.write_bytes(second.read_bytes()[:-20])
    found = world.verify()
    named = {(f.kind, f.where.split("/")[-1]) for f in found if f.where.startswith("metadata/")}
    assert named == {(Kind.MISSING, first.name), (Kind.ALTERED, second.name)}
    assert gone <= kinds(found)


def scoped(rows: pa.Table) -> list[dict[str, Any]]:
    return [row for row in rows.to_pylist() if row["integrity_hash"] is not None]


def test_a_flipped_byte_anywhere_in_a_file_is_found_or_harmless(world: World) -> None:
    path = world.scoped()[0][0]
    before, rows = path.read_bytes(), read(path)
    for at in random.Random(3).sample(range(len(before)), 25):
        path.write_bytes(before[:at] + bytes([before[at] ^ 0x10]) + before[at + 1 :])
        found = world.verify()
        if not found:
            assert read(path).to_pylist() == rows.to_pylist(), at
    path.write_bytes(before)


def test_a_column_renamed_in_one_file_of_several(world: World) -> None:
    """The files beside it, whose texts are dictionaries when they are read, are compared as before."""
    paths = {row[0] for row in world.scoped() if row[2]["stream"] == STREAM}
    assert len(paths) > 1
    path = world.scoped()[0][0]
    rows = read(path)
    pq.write_table(rows.rename_columns([n.replace("index", "intex") for n in rows.column_names]), path)
    found = world.verify()
    here = f"metadata/{path.relative_to(world.home / 'warehouse' / 'metadata')}"
    assert (Kind.ALTERED, here) in kinds(found)
    assert {f.kind for f in found} == {Kind.ALTERED, Kind.MISSING}
    lost = [name(row) for row in rows.to_pylist()]
    assert sorted(f.where for f in found if f.kind is Kind.MISSING) == sorted(lost)


# -- the log -----------------------------------------------------------------------------------------------------


def cut_back(world: World, seen: Seen, size: int) -> None:
    """Put the log back to what it was after `size` commits, without leaving a trace of the rest."""
    folder = world.log_folder(STREAM)
    (folder / "checkpoint").write_bytes(seen[size - 1])
    whole = world.store(STREAM)
    entries = whole.get(f"tile/entries/000.p/{len(seen)}")
    hashes = whole.get(f"tile/0/000.p/{len(seen)}")
    assert entries
    assert hashes
    shutil.rmtree(folder / "tile")
    kept = 0
    for _ in range(size):
        kept += 2 + int.from_bytes(entries[kept : kept + 2], "big")
    whole.put(f"tile/entries/000.p/{size}", entries[:kept])
    whole.put(f"tile/0/000.p/{size}", hashes[: 32 * size])


def test_a_log_cut_back(world: World, seen: Seen) -> None:
    cut_back(world, seen, 2)
    found = world.verify(known=[seen[3]])
    missing = {f"lethe/{STREAM}/0 offsets {first} to {first + 59}" for first in (120, 180)}
    assert {(Kind.MISSING, where) for where in missing} <= kinds(found)
    assert any(f.kind is Kind.CUT_BACK for f in found)
    assert any(f.kind is Kind.ADDED and "after the last entry" in f.detail for f in found)


def test_log_ledger_and_archive_all_cut_back_show_with_a_checkpoint_kept_elsewhere(
    world: World, seen: Seen
) -> None:
    shutil.rmtree(world.log_folder(OTHER))
    kept = World.store(world, STREAM).get("checkpoint")
    assert kept == seen[3]
    early = World(world.home / "early")
    early.feed(STREAM, 60, 1, malformed=0.05, envelope=0.1)
    # Everything of an earlier day, with the keys and the log of that day; the newest checkpoint was handed out.
    newer = world.signer.sign(Checkpoint(f"lethe/{STREAM}/0", 4, bytes(32)), 0)
    (early.home / "keys" / "log.signing").write_bytes((world.home / "keys" / "log.signing").read_bytes())
    shutil.rmtree(early.home / "warehouse" / "_log")
    shutil.rmtree(early.home / "keys" / "log.signed")
    assert not early.publish()
    assert early.verify() == []
    assert {f.kind for f in early.verify(known=[bytes(newer)])} == {Kind.CUT_BACK}


def test_a_log_that_is_gone(world: World) -> None:
    shutil.rmtree(world.log_folder(STREAM))
    assert kinds(world.verify()) == {(Kind.NOT_PROVEN, f"lethe/{STREAM}/0 checkpoint")}


def test_a_log_whose_rows_and_ledger_are_gone(world: World) -> None:
    for folder in ("metadata", "ledger"):
        shutil.rmtree(world.home / "warehouse" / folder)
    found = world.verify()
    lost = [n for n in (STREAM, OTHER) if (Kind.CUT_BACK, f"lethe/{n}/0 metadata") in kinds(found)]
    assert lost == [STREAM, OTHER]
    assert any(f.kind is Kind.MISSING and "the ledger has no row" in f.detail for f in found)


def test_a_forged_log(world: World) -> None:
    """Signed with keys of the same name that are not those of the warehouse."""
    forger = Signer.generate("lethe", 0)
    folder = world.log_folder(STREAM)
    forged = forger.sign(Checkpoint(f"lethe/{STREAM}/0", 4, bytes(32)), 0)
    (folder / "checkpoint").write_bytes(bytes(forged))
    assert kinds(world.verify()) == {(Kind.NOT_PROVEN, f"lethe/{STREAM}/0 checkpoint")}
    assert "none of the keys that are trusted" in world.verify()[0].detail


@pytest.mark.parametrize("part", ["tile/0/000.p/4", "tile/entries/000.p/4", "checkpoint"])
def test_a_byte_of_the_log_flipped(world: World, part: str) -> None:
    path = world.log_folder(STREAM) / part
    data = path.read_bytes()
    for at in random.Random(4).sample(range(len(data)), 6):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        found = world.verify()
        assert found, at
        assert any(f"lethe/{STREAM}/0" in f.where for f in found), at


def test_a_leaf_file_cannot_hide_a_row_that_was_removed(world: World) -> None:
    path, number, _ = next(one for one in world.scoped() if one[2]["stream"] == STREAM)
    write(path, without(read(path), number))
    leaves = world.log_folder(STREAM) / "leaves" / "000"
    leaves.write_bytes(leaves.read_bytes()[:-35])
    found = world.verify()
    assert [f.kind for f in found] == [Kind.NOT_PROVEN]
    assert "leaves/000" in found[0].detail


def test_a_checkpoint_of_another_log(world: World) -> None:
    shutil.copy(world.log_folder(OTHER) / "checkpoint", world.log_folder(STREAM) / "checkpoint")
    found = world.verify()
    assert kinds(found) == {(Kind.NOT_PROVEN, f"lethe/{STREAM}/0 checkpoint")}
    assert "is not one of the log" in found[0].detail


def test_a_split_view_signed_with_the_real_keys(world: World, seen: Seen) -> None:
    """Somebody inside alters a row and has the whole log signed again: a checkpoint seen before tells."""
    rows = [one for one in world.scoped() if one[2]["stream"] == STREAM]
    path, number, _ = rows[0]
    write(path, changed(read(path), number, "price", Decimal(9)))
    table = pa.concat_tables([read(p) for p in world.archive_files()])
    store = world.store(STREAM)
    commits = []
    for version in range(4):
        first, last = 60 * version, 60 * version + 59
        mine = [
            n for n, r in enumerate(table.select(["stream", "offset"]).to_pylist())
            if r["stream"] == STREAM and first <= r["offset"] <= last
        ]  # fmt: skip
        commits.append(LogCommit.of(table.take(mine), STREAM, 0, (first, last), version + 1))
    shutil.rmtree(world.log_folder(STREAM))
    publish(store, world.signer, STREAM, 0, commits, 0)
    found = world.verify(known=[seen[3]])
    assert (Kind.SPLIT_VIEW, f"lethe/{STREAM}/0 a checkpoint kept elsewhere") in kinds(found)
    # Without one, the ledger, which was forgotten, still tells.
    assert (Kind.ALTERED, f"lethe/{STREAM}/0 offsets 0 to 59") in kinds(world.verify())


def test_a_log_put_back_to_an_older_checkpoint_is_brought_up_to_the_same_again(
    world: World, seen: Seen
) -> None:
    cut_back(world, seen, 2)
    world.feed(STREAM, 30, 9)
    assert world.verify(known=seen) == []


def test_publication_refuses_to_sign_what_contradicts_a_commit(world: World, seen: Seen) -> None:
    cut_back(world, seen, 2)
    path, number, row = next(
        one for one in world.scoped() if one[2]["offset"] >= 120 and one[2]["stream"] == STREAM
    )
    write(path, changed(read(path), number, "price", Decimal(9)))
    with pytest.raises(AssertionError):
        world.feed(STREAM, 30, 9)
    (world.home / "warehouse" / "_log" / "published").unlink()
    failures = world.publish()
    first = row["offset"] // 60 * 60
    assert f"offsets {first} to {first + 59} of {STREAM}/0 are not those" in str(failures[STREAM, 0])
    assert (world.log_folder(STREAM) / "checkpoint").read_bytes() == seen[1]
    # The records are in all the same, and other topics go on.
    assert world.runtime.warehouse.position(f"cluster/{STREAM}/0") == 269
    assert world.feed(OTHER, 10, 10)


# -- time stamps -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def stamper(authority: Authority) -> Any:
    from rfc3161_client import TimestampRequestBuilder

    def ask(data: bytes) -> bytes:
        request = TimestampRequestBuilder().data(data).nonce(nonce=False).cert_request(cert_request=True)
        return authority.answer(request.build().as_bytes())

    return ask


def test_time_stamps_swapped(tmp_path: Path, authority: Authority) -> None:
    from lethe.integrity.log.stamp import stamp

    world = World(tmp_path)
    for seed in (1, 2):
        world.feed(STREAM, 40, seed)
        assert stamp(world.store(STREAM), stamper(authority)) is not None
    assert world.verify(roots=authority.roots) == []
    assert world.report is not None
    assert world.report.stamps == 2
    one, two = (world.log_folder(STREAM) / "stamps" / n / "response" for n in ("001", "002"))
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    found = world.verify(roots=authority.roots)
    assert kinds(found) == {(Kind.ALTERED, f"lethe/{STREAM}/0 stamps/{n}") for n in ("001", "002")}
    forged = Authority(tmp_path / "forger")
    one.write_bytes(stamper(forged)((one.parent / "checkpoint").read_bytes()))
    two.write_bytes(second)
    assert kinds(world.verify(roots=authority.roots)) == {(Kind.ALTERED, f"lethe/{STREAM}/0 stamps/001")}


# -- a history forged by who can write the warehouse and has no key -----------------------------------------------


def forged(world: World) -> tuple[Path, dict[str, Any]]:
    """Alter a price, make the ledger say so, and remove everything that was signed."""
    path, number, row = next(one for one in world.scoped() if one[2]["stream"] == STREAM)
    write(path, changed(read(path), number, "price", (row["price"] or Decimal(0)) + 1))
    table = pa.concat_tables([read(p) for p in world.archive_files()])
    (ledger,) = [
        p for p in (world.home / "warehouse" / "ledger").glob("*.parquet")
        if any(r["stream"] == STREAM and r["first_offset"] <= row["offset"] <= r["last_offset"]
               for r in pq.read_table(p).to_pylist())
    ]  # fmt: skip
    rows = pq.read_table(ledger).to_pylist()
    for said in rows:
        first, last = said["first_offset"], said["last_offset"]
        if said["stream"] == STREAM and first <= row["offset"] <= last:
            mine = [r["stream"] == STREAM and first <= r["offset"] <= last for r in table.to_pylist()]
            commitment = commit_rows(table.filter(pa.array(mine)))
            assert commitment.root != said["merkle_root"]
            said["merkle_root"], said["rows_sha3_512"] = commitment.root, commitment.sha3_512
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(ledger)), ledger)
    shutil.rmtree(world.log_folder(STREAM))
    (world.home / "warehouse" / "_log" / "published").unlink(missing_ok=True)
    return path, row


def test_a_history_forged_without_any_key_is_not_signed(world: World) -> None:
    forged(world)
    found = world.verify()
    assert (Kind.NOT_PROVEN, f"lethe/{STREAM}/0 checkpoint") in kinds(found)
    assert any(f.kind is Kind.ALTERED and f.where.startswith("ledger offsets") for f in found)
    failure = world.publish()[STREAM, 0]
    assert "nothing was signed" in str(failure)
    assert world.store(STREAM).get("checkpoint") is None
    again = ingest(world.runtime, str(world.home / "records.ndjson"), SMS)
    assert "nothing was signed" in (again.log_error or "")


def test_a_history_forged_is_not_signed_either_where_nobody_remembers_the_log(world: World) -> None:
    forged(world)
    shutil.rmtree(world.home / "keys" / "log.signed")
    assert "is not what was committed" in str(world.publish()[STREAM, 0])
    assert world.store(STREAM).get("checkpoint") is None


def test_a_log_that_is_gone_is_made_again_as_it_was_or_not_at_all(world: World, seen: Seen) -> None:
    shutil.rmtree(world.log_folder(STREAM))
    (world.home / "warehouse" / "_log" / "published").unlink()
    assert any(f.kind is Kind.NOT_PROVEN for f in world.verify())
    with pytest.raises(IntegrityError, match="has 0 entries, but 4 were signed"):
        publish(world.store(STREAM), world.signer, STREAM, 0, [], 0, world.runtime.anchors)
    assert world.publish() == {}
    assert world.verify(known=seen) == []


def test_a_log_cut_back_is_not_continued_below_what_was_signed(world: World, seen: Seen) -> None:
    cut_back(world, seen, 2)
    found = world.verify()
    assert any(f.kind is Kind.CUT_BACK for f in found)
    assert any(f.kind is Kind.MISSING and "offsets 180 to 239" in f.where for f in found)
    for _ in range(2):
        with pytest.raises(IntegrityError, match="has 2 entries, but 4 were signed"):
            publish(world.store(STREAM), world.signer, STREAM, 0, [], 0, world.runtime.anchors)


def test_what_was_signed_before_this_was_kept_is_noted_by_the_next_start(world: World) -> None:
    shutil.rmtree(world.home / "keys" / "log.signed")
    (world.home / "keys" / "ledger.key").unlink()
    assert not world.publish()
    shutil.rmtree(world.log_folder(OTHER))
    (world.home / "warehouse" / "_log" / "published").unlink()
    assert "nothing was signed" in str(world.publish()[OTHER, 0])


def test_verification_signs_nothing(world: World) -> None:
    world.feed(STREAM, 60, 9, publish=False)
    before = {p: p.read_bytes() for p in (world.home / "warehouse" / "_log").rglob("*") if p.is_file()}
    assert world.verify() == []
    assert world.report is not None
    assert world.report.unpublished == 1
    assert before == {
        p: p.read_bytes() for p in (world.home / "warehouse" / "_log").rglob("*") if p.is_file()
    }


# -- what is no attack -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True], ids=["in order", "in another order"])
def test_compaction_changes_nothing(world: World, reverse: bool) -> None:
    for month in ("2026-09", "2026-10"):
        compact(world, backwards if reverse else lambda rows: rows, month)
    assert len(world.archive_files()) == 2
    assert world.verify() == []
    assert world.report is not None
    assert world.report.rows == len(world.scoped())


def test_what_the_delta_library_compacts_is_as_it_was(world: World) -> None:
    DeltaTable(str(world.home / "warehouse" / "metadata")).optimize.compact()
    assert world.verify() == []
    assert world.report is not None
    assert world.report.rows == len(world.scoped()) > 100
    row = next(one for one in world.scoped() if one[2]["stream"] == STREAM)[2]
    history, position = world.signer.history, Position.parse(name(row))
    assert evidence_of(world.runtime.warehouse, world.runtime.ring, history, position, NOW).has_original


WIDER = {
    "timestamp[us, tz=UTC]": pa.timestamp("ns", "UTC"), "string": pa.large_string(), "int32": pa.int64(),
    "fixed_size_binary[32]": pa.large_binary(), "decimal128(18, 6)": pa.decimal256(40, 6),
}  # fmt: skip


def test_files_written_again_with_wider_types_are_as_they_were(world: World) -> None:
    for path in world.archive_files():
        rows = read(path)
        wider = [f.with_type(WIDER.get(str(f.type), f.type)) for f in rows.schema]
        assert sum(f.type != g.type for f, g in zip(wider, rows.schema, strict=True)) > 10
        pq.write_table(rows.cast(pa.schema(wider)), path)
    assert world.verify() == []
    path, number, _ = world.scoped()[17]
    rows = pq.ParquetFile(path).read()
    at = rows.column_names.index("price")
    prices = rows["price"].to_pylist()
    prices[number] = (prices[number] or Decimal(0)) + Decimal("0.0000001")
    pq.write_table(rows.set_column(at, "price", pa.array(prices, pa.decimal256(40, 7))), path)
    assert any(f.kind is Kind.ALTERED for f in world.verify())


def test_files_that_spark_has_written_again_are_as_they_were(world: World) -> None:
    """It writes times as INT96, which has no zone, and hashes as binary of any length."""
    for path in [*world.archive_files(), *(world.home / "warehouse" / "ledger").glob("*.parquet")]:
        rows = pq.ParquetFile(path).read()
        plain = [
            f.with_type(pa.binary()) if pa.types.is_fixed_size_binary(f.type) else f for f in rows.schema
        ]
        pq.write_table(
            rows.cast(pa.schema(plain)), path, use_deprecated_int96_timestamps=True, store_schema=False
        )
        assert pa.timestamp("ns") in pq.read_schema(path).types
    assert world.verify() == []
    assert world.report is not None
    assert world.report.rows == len(world.scoped()) > 100
    row = next(one for one in world.scoped() if one[2]["stream"] == STREAM)[2]
    history, position = world.signer.history, Position.parse(name(row))
    assert evidence_of(world.runtime.warehouse, world.runtime.ring, history, position, NOW).has_original
    path, number, _ = world.scoped()[17]
    rows = pq.ParquetFile(path).read()
    at = rows.column_names.index("event_time")
    times = rows["event_time"].cast(pa.int64()).to_pylist()
    times[number] += 1_000
    changed = pa.array(times, pa.timestamp("ns"))
    pq.write_table(rows.set_column(at, "event_time", changed), path, use_deprecated_int96_timestamps=True)
    assert any(f.kind is Kind.ALTERED for f in world.verify())


def test_times_without_a_zone_are_no_times_of_the_archive(world: World) -> None:
    """Nobody knows what they mean, unless they are Spark's."""
    path = world.archive_files()[0]
    rows = read(path)
    at = rows.column_names.index("event_time")
    pq.write_table(rows.set_column(at, "event_time", rows["event_time"].cast(pa.timestamp("us"))), path)
    assert any("not timestamp[us]" in f.detail for f in world.verify())


@pytest.mark.parametrize("damage", ["rewritten", "cut short", "gone", "of other columns"])
def test_a_ledger_file_that_is_not_what_was_written(world: World, damage: str) -> None:
    path = min((world.home / "warehouse" / "ledger").glob("*.parquet"))
    rows = pq.ParquetFile(path).read()
    if damage == "rewritten":
        pq.write_table(rows, path, compression="none", data_page_version="1.0", use_dictionary=False)
    elif damage == "cut short":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "gone":
        path.unlink()
    else:
        pq.write_table(rows.drop_columns(["version"]), path)
    found = world.verify()
    checked = [f.what for f in check(world.runtime.warehouse)]
    if damage == "rewritten":
        assert found == []
        assert checked == []
    else:
        assert [f.kind for f in found if f.where == f"ledger/{path.name}"] == [Kind.ALTERED]
        assert [what for what in checked if what.startswith(f"ledger/{path.name}: ")]


def test_a_row_lost_in_compaction_is_found(world: World) -> None:
    row = next(one[2] for one in world.scoped() if one[0].parent.name == "month=2026-10")

    def drop(rows: pa.Table) -> pa.Table:
        keep = [n for n, r in enumerate(rows.to_pylist()) if name(r) != name(row)]
        return rows.take(keep)

    compact(world, drop)
    assert kinds(world.verify()) == {(Kind.MISSING, name(row))}


def test_only_some_months_and_only_one_stream(world: World) -> None:
    from lethe.schemas.retention.calendar import Month

    september = [one for one in world.scoped() if one[2]["event_time"].month == 9]
    path, number, row = september[0]
    write(path, changed(read(path), number, "price", Decimal(9)))
    assert kinds(world.verify(until=Month(2026, 9))) == {(Kind.ALTERED, name(row))}
    assert world.verify(since=Month(2026, 10)) == []
    other = next(s for s in (STREAM, OTHER) if s != row["stream"])
    assert world.verify(stream=other) == []
    assert kinds(world.verify(stream=row["stream"])) == {(Kind.ALTERED, name(row))}


def test_what_has_outlived_the_archive_is_not_missing(world: World) -> None:
    for path in world.archive_files():
        path.unlink()
    assert any(f.kind is Kind.MISSING for f in world.verify())
    world.ahead = timedelta(days=365 * 11)
    # Files of months that are over are not even looked for.
    assert world.verify() == []


# -- evidence ----------------------------------------------------------------------------------------------------


def fields(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from fields(below, (*path, key))
    else:
        yield path


def test_evidence_edited_in_any_field(world: World) -> None:
    row = next(one for one in world.scoped() if one[2]["stream"] == STREAM)[2]
    runtime = world.runtime
    history = world.signer.history
    found = evidence_of(runtime.warehouse, runtime.ring, history, Position.parse(name(row)), NOW)
    assert found.has_original
    trusted = [str(history.sets[0].ed25519)]
    second.check(found.file, trusted)
    whole = json.loads(found.file)
    for path in fields(whole):
        edited = copy.deepcopy(whole)
        node = edited
        for step in path[:-1]:
            node = node[step]
        old = node[path[-1]]
        node[path[-1]] = (
            old + 1 if isinstance(old, int) else (old[:-2] + ("AA" if old[-2:] != "AA" else "BB"))
        )
        with pytest.raises(IntegrityError):
            second.check(json.dumps(edited).encode(), trusted)


__all__ = ["SMS"]
