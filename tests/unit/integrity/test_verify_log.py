"""Every attack on a log is found and named: forged, cut back, replaced, split."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from integrity_authority import Authority
from integrity_samples import NAME, NOW, ORIGIN, PARTITION, STREAM, Archive, commits, row, rows
from rfc3161_client import TimestampRequestBuilder

from lethe.integrity.log import merkle
from lethe.integrity.log.checkpoint import Checkpoint
from lethe.integrity.log.note import Note
from lethe.integrity.log.publish import publish
from lethe.integrity.log.signing import Signer
from lethe.integrity.log.stamp import stamp
from lethe.integrity.log.store import CHECKPOINT, MemoryStore
from lethe.integrity.log.tiles import encode_bundle
from lethe.integrity.verify.findings import Finding
from lethe.integrity.verify.log import verify_ledger, verify_log
from lethe.schemas.arrow import LEDGER


@pytest.fixture(scope="module")
def archive() -> Archive:
    return Archive.of(rows(300), 1)


def findings(archive: Archive, changes: dict[str, bytes | None], **options: object) -> list[Finding]:
    """What is said of the log when these objects are exchanged (None: removed)."""
    store = MemoryStore(archive.store.objects)
    for path, data in changes.items():
        if data is None:
            del store.objects[path]
        else:
            store.objects[path] = data
    return list(verify_log(store, archive.signer.history, ORIGIN, **options))  # type: ignore[arg-type]


def flipped(archive: Archive, path: str, at: int) -> dict[str, bytes | None]:
    data = bytearray(archive.store.objects[path])
    data[at] ^= 1
    return {path: bytes(data)}


def signed_elsewhere(archive: Archive, size: int, first: int = 0) -> bytes:
    """A checkpoint that the same keys signed over other commits."""
    other = commits([row(offset, status="OTHER") for offset in range(first, first + size)], 1)
    store = MemoryStore()
    publish(store, archive.signer, STREAM, PARTITION, other, NOW)
    return store.objects[CHECKPOINT]


def test_an_untouched_log_has_no_findings(archive: Archive) -> None:
    assert findings(archive, {}) == []


@pytest.mark.parametrize("at", range(0, 3400, 97))
def test_a_flipped_byte_in_the_checkpoint_is_found(archive: Archive, at: int) -> None:
    found = findings(archive, flipped(archive, CHECKPOINT, at))
    assert CHECKPOINT in found[0].where


@pytest.mark.parametrize("at", [0, 31, 4000, 8191])
def test_a_flipped_byte_in_a_full_tile_is_found(archive: Archive, at: int) -> None:
    found = findings(archive, flipped(archive, "tile/0/000", at))
    assert any("tile/0/000" in str(finding) for finding in found)


@pytest.mark.parametrize("path", ["tile/0/001.p/44", "tile/1/000.p/1"])
def test_a_flipped_byte_in_an_unfinished_tile_is_found_and_named(archive: Archive, path: str) -> None:
    found = findings(archive, flipped(archive, path, 5))
    assert found[0].kind == "not proven"
    assert [finding.where for finding in found[1:]] == [f"{ORIGIN} {path}"]


@pytest.mark.parametrize(
    ("path", "at", "entry"), [("tile/entries/000", 9, 0), ("tile/entries/001.p/44", 2000, None)]
)
def test_a_flipped_byte_in_an_entry_is_found_and_named(
    archive: Archive, path: str, at: int, entry: int | None
) -> None:
    found = findings(archive, flipped(archive, path, at))
    assert len(found) == 1
    assert found[0].kind == "altered"
    assert "entry" in found[0].detail if entry is None else f"entry {entry} " in found[0].detail


@pytest.mark.parametrize(
    "path", ["tile/0/000", "tile/0/001.p/44", "tile/entries/000", "tile/entries/001.p/44", "tile/1/000.p/1"]
)
def test_a_missing_part_of_the_log_is_named(archive: Archive, path: str) -> None:
    assert any(path in str(finding) for finding in findings(archive, {path: None}))


def test_a_missing_checkpoint_is_named(archive: Archive) -> None:
    (found,) = findings(archive, {CHECKPOINT: None})
    assert "no checkpoint" in found.detail


def test_a_checkpoint_of_another_log_of_the_same_keys_is_named(archive: Archive) -> None:
    other = archive.signer.sign(Checkpoint(ORIGIN.replace("/3", "/4"), 300, bytes(32)), NOW)
    (found,) = findings(archive, {CHECKPOINT: bytes(other)})
    assert "not one of the log" in found.detail


def test_a_forged_log_by_a_stranger_is_named(archive: Archive) -> None:
    stranger = Archive.of([row(n, status="X") for n in range(300)], 1, Signer.generate(NAME, NOW))
    (found,) = findings(archive, dict(stranger.store.objects))
    assert "none of the keys" in found.detail


def test_a_checkpoint_signed_with_one_of_the_two_algorithms_is_named(archive: Archive) -> None:
    note = Note.parse(archive.store.objects[CHECKPOINT])
    for kept in note.signatures:
        (found,) = findings(archive, {CHECKPOINT: bytes(Note(note.text, (kept,)))})
        assert "missing" in found.detail or "none of the keys" in found.detail


def test_a_checkpoint_the_entries_do_not_lead_to_is_named(archive: Archive) -> None:
    found = findings(archive, {CHECKPOINT: signed_elsewhere(archive, 300)})
    assert found[0].where == f"{ORIGIN} checkpoint"
    assert "do not lead to its checkpoint" in found[1].detail


def test_a_log_cut_back_is_found_with_a_checkpoint_kept_elsewhere(archive: Archive) -> None:
    kept = archive.store.objects[CHECKPOINT]
    cut = Archive.of(archive.rows[:290], 1, archive.signer)
    assert findings(cut, {}) == []
    (found,) = findings(cut, {}, known=[kept])
    assert found.kind == "cut back"
    assert "300" in found.detail


@pytest.mark.parametrize("size", [1, 200, 256, 299, 300])
def test_a_split_view_is_found_with_a_checkpoint_kept_elsewhere(archive: Archive, size: int) -> None:
    (found,) = findings(archive, {}, known=[signed_elsewhere(archive, size)])
    assert found.kind == "split view"
    assert str(size) in found.detail


def test_earlier_checkpoints_of_this_log_are_no_findings(archive: Archive) -> None:
    known = [
        Archive.of(archive.rows[:size], 1, archive.signer).store.objects[CHECKPOINT] for size in (1, 256, 300)
    ]
    assert findings(archive, {}, known=known) == []
    (found,) = findings(archive, {}, known=[b"nonsense"])
    assert found.kind == "not proven"


def test_entries_out_of_order_are_found() -> None:
    # Only the signer could make such a log: by mistake, or forced to.
    signer = Signer.generate(NAME, NOW)
    made = commits(rows(4), 1)
    store = MemoryStore()
    publish(store, signer, STREAM, PARTITION, made[:1], NOW)
    swapped = [bytes(made[n].entry) for n in (0, 2, 1, 3)]
    hashes = [merkle.leaf_hash(entry) for entry in swapped]
    store.objects["tile/entries/000.p/4"] = encode_bundle(swapped)
    store.objects["tile/0/000.p/4"] = b"".join(hashes)
    store.objects[CHECKPOINT] = bytes(signer.sign(Checkpoint(ORIGIN, 4, merkle.root(hashes)), NOW))
    (found,) = verify_log(store, signer.history, ORIGIN)
    assert (found.kind, found.where) == ("out of order", f"{ORIGIN} entry 2")


def test_entries_of_another_log_are_found() -> None:
    signer = Signer.generate(NAME, NOW)
    (made,) = commits(rows(4), 4)
    foreign = bytes(replace(made.entry, partition=4))
    leaf = merkle.leaf_hash(foreign)
    store = MemoryStore(
        {
            "tile/entries/000.p/1": encode_bundle([foreign]),
            "tile/0/000.p/1": leaf,
            CHECKPOINT: bytes(signer.sign(Checkpoint(ORIGIN, 1, leaf), NOW)),
        }
    )
    (found,) = verify_log(store, signer.history, ORIGIN)
    assert "of another log" in found.detail


def stamped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Archive, Authority]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    archive = Archive.of(rows(6), 1)

    def answer(data: bytes) -> bytes:
        builder = TimestampRequestBuilder().data(data).nonce(nonce=False).cert_request(cert_request=True)
        return authority.answer(builder.build().as_bytes())

    for size in (3, 6):
        store = Archive.of(archive.rows[:size], 1, archive.signer).store
        stamp(store, answer)
        archive.store.objects |= {p: d for p, d in store.objects.items() if p.startswith("stamps/")}
    return archive, authority


def test_time_stamps_are_verified_with_the_log(tmp_path_factory: pytest.TempPathFactory) -> None:
    archive, authority = stamped(tmp_path_factory)
    roots = authority.roots
    assert findings(archive, {}, stamp_roots=roots) == []
    three, six = (archive.store.objects[f"stamps/00{size}/response"] for size in (3, 6))

    swapped = findings(archive, {"stamps/003/response": six, "stamps/006/response": three}, stamp_roots=roots)
    assert [finding.where for finding in swapped] == [f"{ORIGIN} stamps/003", f"{ORIGIN} stamps/006"]
    assert all("another checkpoint" in finding.detail for finding in swapped)

    (lost,) = findings(archive, {"stamps/003/checkpoint": None}, stamp_roots=roots)
    assert "without its checkpoint" in lost.detail

    # A stamped checkpoint also shows that the log was cut back, or that there are two of them.
    short = Archive.of(archive.rows[:4], 1, archive.signer)
    short.store.objects |= {p: d for p, d in archive.store.objects.items() if p.startswith("stamps/")}
    assert [finding.kind for finding in findings(short, {}, stamp_roots=roots)] == ["cut back"]
    other = Archive.of([row(n, status="OTHER") for n in range(6)], 1, archive.signer)
    other.store.objects |= {p: d for p, d in archive.store.objects.items() if p.startswith("stamps/")}
    assert [finding.kind for finding in findings(other, {}, stamp_roots=roots)] == ["split view"] * 2


def ledger(archive: Archive, **changes: object) -> pa.Table:
    values = []
    for commit in archive.commits:
        entry = commit.entry
        filled = {field.name: None if field.nullable else 0 for field in LEDGER}
        filled |= {
            "stream": entry.stream,
            "partition": entry.partition,
            "source": "cluster/topic/3",
            "first_offset": entry.first_offset,
            "last_offset": entry.last_offset,
            "rejected_by_reason": "{}",
            "in_scope": entry.commitment.count,
            "merkle_root": entry.commitment.root,
            "rows_sha3_512": entry.commitment.sha3_512,
            "version": entry.version,
        }
        if entry.outside is not None:
            outside = entry.outside.commitment
            declarations = " ".join(digest.hex() for digest in entry.declarations)
            filled |= {
                "out_of_scope": outside.count, "out_of_scope_root": outside.root, "declarations": declarations
            }  # fmt: skip
        values.append(filled)
    values[1] |= changes
    return pa.Table.from_pylist(values, schema=LEDGER)


def test_log_and_ledger_agree() -> None:
    archive = Archive.of(rows(12), 3)
    entries, where = list(archive.log.entries()), f"{STREAM}/{PARTITION}"
    book = ledger(archive)
    assert list(verify_ledger(entries, book, where)) == []

    (cut,) = verify_ledger(entries[:3], book, where)
    assert (cut.kind, cut.where) == ("missing", f"{where} offsets 9 to 11")
    (lost,) = verify_ledger(entries, book.slice(1), where)
    assert (lost.kind, lost.where) == ("missing", f"{where} offsets 0 to 2")
    changes: list[dict[str, object]] = [
        {"in_scope": 2},
        {"merkle_root": bytes(32)},
        {"rows_sha3_512": bytes(64)},
        {"version": 77},
        {"last_offset": 6},
    ]
    for change in changes:
        (altered,) = verify_ledger(entries, ledger(archive, **change), where)
        assert (altered.kind, altered.where) == ("altered", f"{where} offsets 3 to 5")


def test_a_gap_an_operator_accepted_is_no_commit() -> None:
    archive = Archive.of(rows(12), 3)
    gap = ledger(archive, first_offset=100, last_offset=200, gap="topic was truncated")
    entries = [entry for entry in archive.log.entries() if entry.first_offset != 3]
    assert list(verify_ledger(entries, gap, "x")) == []
