"""Logs that an earlier release has made, published or left half-made: all its leaf files had all leaf hashes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from integrity_samples import NAME, NOW, ORIGIN, PARTITION, STREAM, Archive, Row, commits, row, rows, told
from test_publish import CrashError, CrashingStore, published

from lethe.integrity.log.entries import LogCommit
from lethe.integrity.log.leaves import decode as read
from lethe.integrity.log.leaves import digest, encode_whole
from lethe.integrity.log.publish import publish
from lethe.integrity.log.signing import Signer
from lethe.integrity.log.store import MemoryStore
from lethe.integrity.verify.log import verify_log
from lethe.schemas.errors import IntegrityError


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer.generate(NAME, NOW)


ROWS = rows(40)
BEFORE, NOW_MADE = commits(ROWS, 5, whole=True, declarations=None), commits(ROWS, 5, declarations=None)


def versions(store: MemoryStore) -> list[int]:
    return [data[0] for path, data in sorted(store.objects.items()) if path.startswith("leaves/")]


def sound(store: MemoryStore, signer: Signer, values: list[Row]) -> None:
    assert list(verify_log(store, signer.history, ORIGIN)) == []
    archive = Archive(signer, store, values, [])
    assert archive.findings() == []
    for victim in (0, 12, len(values) - 1):
        changed = [value | {"status": "X"} if value is values[victim] else value for value in values]
        ((kind, where),) = told(archive.findings(changed))
        _, entry = archive.log.covering(victim) or pytest.fail("no entry")
        grouped = archive.log.leaf_file(entry)[0] == 2
        row, first, last = (
            f"{STREAM}/{PARTITION}/{offset}" for offset in (victim, entry.first_offset, entry.last_offset)
        )
        assert (kind, where) == ("altered", f"{first} to {last}" if grouped else row)


def test_a_log_of_before_goes_on(signer: Signer) -> None:
    store = MemoryStore()
    published(store, signer, BEFORE[:3])
    published(
        store, signer, NOW_MADE
    )  # those that are in the log are made anew: compared, and left as they are
    assert versions(store) == [1] * 3 + [2] * 5
    sound(store, signer, ROWS)
    before = dict(store.objects)
    published(store, signer, NOW_MADE)
    assert store.objects == before


@pytest.mark.parametrize("after", [False, True], ids=["failed, not persisted", "failed, but persisted"])
@pytest.mark.parametrize("old", [0, 2])
def test_what_an_interrupted_run_of_before_left_is_published_as_it_was(
    signer: Signer, old: int, after: bool
) -> None:
    start = MemoryStore()
    if old:
        published(start, signer, BEFORE[:old])
    seen = set()
    for step in range(1, 100):
        store = CrashingStore(start.objects, step, after)
        try:
            publish(store, signer, STREAM, PARTITION, BEFORE[old:6], NOW)
        except CrashError:
            pass
        else:
            break
        healed = MemoryStore(store.objects)
        left = versions(healed)
        published(healed, signer, NOW_MADE)
        assert versions(healed) == left + [2] * (8 - len(left))
        assert (
            healed.objects.items()
            >= {path: data for path, data in store.objects.items() if path.startswith("leaves/")}.items()
        )
        sound(healed, signer, ROWS)
        seen.add(len(left))
    assert seen >= {old + 1, 6}


@pytest.mark.parametrize("old", [0, 2])
def test_a_leaf_file_that_is_gone_is_made_again_for_the_entry_left_behind(signer: Signer, old: int) -> None:
    store = MemoryStore()
    if old:
        published(store, signer, BEFORE[:old])
    left = MemoryStore(store.objects)
    published(left, signer, BEFORE[:6])
    store = MemoryStore(left.objects | {"checkpoint": store.objects.get("checkpoint", b"")})
    if not old:
        del store.objects["checkpoint"]
    del store.objects["leaves/010"]
    with pytest.raises(IntegrityError, match="bring back the newest checkpoint"):
        published(MemoryStore(store.objects), signer, [LogCommit(c.entry, c.leaf_file) for c in NOW_MADE])
    published(store, signer, NOW_MADE)
    assert store.objects["leaves/010"] == BEFORE[2].leaf_file
    assert versions(store) == [1] * 6 + [2] * 2
    sound(store, signer, ROWS)


def damaged(commit: LogCommit) -> list[bytes]:
    """Leaf files that are not those of the commit, or written in another way."""
    file = read(commit.leaf_file, commit.entry.first_offset)
    leaves = [group.root for group in file.groups]
    moved = [replace(one, offset=one.offset + 1) for one in file.rows]
    first = commit.entry.first_offset
    padded = commit.leaf_file[:5] + bytes([commit.leaf_file[5] | 128, 0]) + commit.leaf_file[6:]
    assert read(padded, first) == file
    return [
        b"\x01",
        commit.leaf_file[:-1],
        padded,
        encode_whole(file.rows, leaves[::-1], first),
        encode_whole(moved, leaves, first),
        commits([row(offset, status="OTHER") for offset in range(10, 15)], 5, whole=True, declarations=None)[
            0
        ].leaf_file,
    ]


def test_a_leaf_file_that_is_not_the_commits_is_not_taken(signer: Signer) -> None:
    start = MemoryStore()
    published(start, signer, BEFORE[:2])
    for wrong in damaged(BEFORE[2]):
        store = MemoryStore({**start.objects, "leaves/010": wrong})
        with pytest.raises(IntegrityError, match="leaves/010"):
            publish(store, signer, STREAM, PARTITION, NOW_MADE, NOW)
        assert store.objects["checkpoint"] == start.objects["checkpoint"]


def test_another_commit_is_refused_whatever_its_leaf_file(signer: Signer) -> None:
    store = MemoryStore()
    published(store, signer, BEFORE[:3])
    other = commits([row(offset, status="OTHER") for offset in range(40)], 5, declarations=None)
    with pytest.raises(IntegrityError, match="holds another commit"):
        publish(store, signer, STREAM, PARTITION, other, NOW)
    robbed = MemoryStore({path: data for path, data in store.objects.items() if path != "leaves/000"})
    with pytest.raises(IntegrityError, match="holds another commit"):
        publish(robbed, signer, STREAM, PARTITION, NOW_MADE, NOW)
    assert digest(BEFORE[0].leaf_file) == BEFORE[0].entry.leaves != NOW_MADE[0].entry.leaves
