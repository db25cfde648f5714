"""Reading a log without trusting where it is kept."""

from __future__ import annotations

import pytest
from integrity_samples import NAME, NOW, ORIGIN, PARTITION, STREAM, Archive, row, rows

from lethe.integrity.log import merkle
from lethe.integrity.log.commitment import NOTHING, Commitment
from lethe.integrity.log.entries import Entry, Log
from lethe.integrity.log.signing import Signer
from lethe.integrity.log.store import CHECKPOINT
from lethe.schemas.errors import IntegrityError
from lethe.schemas.retention.calendar import Month


@pytest.fixture(scope="module")
def big() -> Archive:
    return Archive.of(rows(600), 1)


def altered(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def test_entries_are_found_by_the_offsets_they_cover() -> None:
    values = [row(offset) for offset in (10, 12, 19, 40, 41, 42, 43, 44, 45)]
    log = Archive.of(values, 3).log
    assert [entry.first_offset for entry in log.entries()] == [10, 40, 43]
    found = {offset: log.covering(offset) for offset in (9, 10, 15, 19, 20, 39, 40, 45, 46)}
    indexes = {offset: hit[0] if hit else None for offset, hit in found.items()}
    assert indexes == {9: None, 10: 0, 15: 0, 19: 0, 20: None, 39: None, 40: 1, 45: 2, 46: None}


@pytest.mark.parametrize("index", [0, 1, 255, 256, 511, 512, 599])
def test_every_entry_is_proven_by_the_tiles(big: Archive, index: int) -> None:
    log = big.log
    leaf = merkle.leaf_hash(bytes(log.entry(index)))
    merkle.verify_inclusion(leaf, index, log.size, log.tiles.inclusion_proof(index), log.checkpoint.root)


@pytest.mark.parametrize("old", [1, 2, 255, 256, 257, 512, 513, 600])
def test_every_earlier_size_is_proven_by_the_tiles(big: Archive, old: int) -> None:
    log = big.log
    leaves = [merkle.leaf_hash(bytes(entry)) for entry in log.entries()]
    assert log.tiles.root_at(old) == merkle.root(leaves[:old])
    proof = log.tiles.consistency_proof(old)
    merkle.verify_consistency(old, log.size, proof, log.tiles.root_at(old), log.checkpoint.root)
    assert log.tiles.root_at(0) == merkle.EMPTY_ROOT


@pytest.mark.parametrize("path", ["tile/0/001", "tile/entries/001"])
@pytest.mark.parametrize("damage", ["altered", "missing", "short"])
def test_what_is_damaged_is_named(big: Archive, path: str, damage: str) -> None:
    archive = Archive(big.signer, type(big.store)(big.store.objects), big.rows, big.commits)
    data = archive.store.objects.pop(path)
    if damage != "missing":
        archive.store.objects[path] = altered(data) if damage == "altered" else data[:-1]
    with pytest.raises(IntegrityError, match=r"001|entry 256|entry 511|cut short"):
        list(archive.log.entries())


def test_an_unfinished_tile_may_be_replaced_by_the_full_one(big: Archive) -> None:
    early = Archive.of(big.rows[:200], 1, big.signer)
    store = type(big.store)({**big.store.objects, CHECKPOINT: early.store.objects[CHECKPOINT]})
    assert "tile/0/000.p/200" not in store.objects
    assert list(Log(store, big.signer.history, ORIGIN).entries()) == [c.entry for c in early.commits]


def test_a_checkpoint_of_another_log_is_refused(big: Archive) -> None:
    with pytest.raises(IntegrityError, match="not one of the log"):
        Log(big.store, big.signer.history, ORIGIN.replace("/3", "/4"))


def test_a_log_of_strangers_is_refused(big: Archive) -> None:
    with pytest.raises(IntegrityError, match="none of the keys"):
        Log(big.store, Signer.generate(NAME, NOW).history, ORIGIN)


def test_a_log_without_checkpoint_is_refused(big: Archive) -> None:
    with pytest.raises(IntegrityError, match="no checkpoint"):
        Log(type(big.store)(), big.signer.history, ORIGIN)


def test_entries_come_back_as_they_were_logged(big: Archive) -> None:
    for commit in big.commits[:3]:
        assert Entry.parse(bytes(commit.entry)) == commit.entry
    assert list(big.log.entries(597)) == [commit.entry for commit in big.commits[597:]]
    with pytest.raises(ValueError, match="no entry 600"):
        big.log.entry(600)


def entry(**changes: object) -> bytes:
    values: dict[str, object] = {
        "stream": STREAM,
        "partition": PARTITION,
        "first_offset": 5,
        "last_offset": 9,
        "commitment": Commitment(2, bytes(32), bytes(64)),
        "leaves": bytes(32),
        "months": (Month(2026, 1), Month(2026, 2)),
        "version": 3,
    }
    return bytes(Entry(**{**values, **changes}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\x02" + entry()[1:],
        entry()[:-1],
        entry() + b"\x00",
        entry(first_offset=10),
        entry(last_offset=1 << 63),
        entry(stream="a/b"),
        entry(stream=""),
        entry(commitment=Commitment(0, bytes(32), bytes(64))),
        entry(commitment=NOTHING),
        entry(months=(Month(2026, 2), Month(2026, 1))),
        entry(months=None),
    ],
)
def test_entries_that_make_no_sense_are_refused(data: bytes) -> None:
    assert Entry.parse(entry())
    with pytest.raises(IntegrityError, match="log entry"):
        Entry.parse(data)


def test_the_bytes_of_an_entry_are_those_of_the_specification() -> None:
    assert entry() == b"".join(
        (
            b"\x01\x0bsms-reports",
            b"\x03\x00\x00\x00",
            b"\x05\x00\x00\x00\x00\x00\x00\x00",
            b"\x09\x00\x00\x00\x00\x00\x00\x00",
            b"\x02\x00\x00\x00\x00\x00\x00\x00",
            bytes(32 + 64 + 32),
            (2026 * 12).to_bytes(4, "little"),
            (2026 * 12 + 1).to_bytes(4, "little"),
            b"\x03\x00\x00\x00\x00\x00\x00\x00",
        )
    )


def test_the_leaf_file_must_be_the_one_that_was_logged(big: Archive) -> None:
    archive = Archive(big.signer, type(big.store)(big.store.objects), big.rows, big.commits)
    log, first = archive.log, archive.commits[0].entry
    assert log.leaf_file(first) == archive.commits[0].leaf_file
    archive.store.objects["leaves/000"] = altered(archive.commits[0].leaf_file)
    with pytest.raises(IntegrityError, match=r"leaves/000 .* altered"):
        log.leaf_file(first)
    del archive.store.objects["leaves/000"]
    with pytest.raises(IntegrityError, match=r"leaves/000 .* missing"):
        log.leaf_file(first)
