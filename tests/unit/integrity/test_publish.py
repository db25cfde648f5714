"""Publishing a log: the same bytes however it got there, healed after any crash, and never two views."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pytest
from integrity_samples import NAME, NOW, ORIGIN, PARTITION, STREAM, Archive, commits, row, rows, table

from lethe.integrity.log.checkpoint import Checkpoint
from lethe.integrity.log.entries import LogCommit
from lethe.integrity.log.note import Note
from lethe.integrity.log.publish import publish
from lethe.integrity.log.signing import Signer
from lethe.integrity.log.store import CHECKPOINT, MemoryStore
from lethe.integrity.verify.log import verify_log
from lethe.schemas.errors import FencedError, IntegrityError


class CrashError(Exception):
    """The process died."""


class CrashingStore(MemoryStore):
    """Dies at the nth change, before it happened or just after."""

    def __init__(self, objects: dict[str, bytes], at: int, after: bool) -> None:
        super().__init__(objects)
        self.left, self.after = at, after

    def _change(self) -> bool:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise CrashError
        return self.left == 0

    def put(self, path: str, data: bytes) -> None:
        dies = self._change()
        super().put(path, data)
        if dies:
            raise CrashError

    def swap(self, path: str, old: bytes | None, new: bytes) -> None:
        dies = self._change()
        super().swap(path, old, new)
        if dies:
            raise CrashError

    def delete(self, *paths: str) -> None:
        for path in paths:
            dies = self._change()
            super().delete(path)
            if dies:
                raise CrashError


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer.generate(NAME, NOW)


@pytest.fixture(scope="module")
def made() -> list[LogCommit]:
    return commits(rows(600), 1)


def published(store: MemoryStore, signer: Signer, made: Sequence[LogCommit], now: int = NOW) -> Note:
    note = publish(store, signer, STREAM, PARTITION, made, now)
    assert note is not None
    return note


def tiles(store: MemoryStore) -> dict[str, bytes]:
    return {path: data for path, data in store.objects.items() if path != CHECKPOINT}


def test_growing_step_by_step_gives_the_tiles_of_doing_it_at_once(
    signer: Signer, made: list[LogCommit]
) -> None:
    store = MemoryStore()
    for size in (1, 2, 5, 255, 256, 257, 300, 511, 512, 600):
        note = published(store, signer, made[max(0, size - 300) : size] if size > 5 else made[:size])
        at_once = MemoryStore()
        assert published(at_once, signer, made[:size]).text == note.text
        assert tiles(at_once).items() <= tiles(store).items()
        assert list(verify_log(store, signer.history, ORIGIN)) == []
    unfinished = {path for path in store.objects if ".p/" in path}
    assert all(
        path.startswith(("tile/0/002.p/", "tile/1/000.p/", "tile/entries/002.p/")) for path in unfinished
    )


def test_publishing_again_changes_nothing(signer: Signer, made: list[LogCommit]) -> None:
    store = MemoryStore()
    published(store, signer, made[:300])
    before = dict(store.objects)
    for again in (made[:300], made[250:300], made[3:9], []):
        published(store, signer, again, NOW + 1000)
        assert store.objects == before


def test_nothing_to_publish_makes_no_log(signer: Signer) -> None:
    store = MemoryStore()
    assert publish(store, signer, STREAM, PARTITION, [], NOW) is None
    assert store.objects == {}


@pytest.mark.parametrize("after", [False, True], ids=["failed, not persisted", "failed, but persisted"])
@pytest.mark.parametrize(("old", "new"), [(0, 3), (254, 3), (255, 2), (510, 4)])
def test_a_crash_at_any_step_is_healed_by_the_next_run(
    signer: Signer, made: list[LogCommit], old: int, new: int, after: bool
) -> None:
    start = MemoryStore()
    if old:
        published(start, signer, made[:old])
    expected = MemoryStore(start.objects)
    published(expected, signer, made[: old + new])

    step = 0
    while True:
        step += 1
        store = CrashingStore(start.objects, step, after)
        try:
            published(store, signer, made[old : old + new])
        except CrashError:
            pass
        else:
            break
        healed = MemoryStore(store.objects)
        # The next run may be given fewer commits, the same, or more of them than the one that died.
        for known in (made[old : old + 1], made[old : old + new], made[max(0, old - 3) : old + new]):
            published(healed, signer, known)
        assert list(verify_log(healed, signer.history, ORIGIN)) == []
        assert Note.parse(healed.objects[CHECKPOINT]).text == Note.parse(expected.objects[CHECKPOINT]).text
        assert tiles(expected).items() <= tiles(healed).items()
    assert step > new + 3


def test_a_commit_that_differs_from_the_published_one_is_refused(
    signer: Signer, made: list[LogCommit]
) -> None:
    store = MemoryStore()
    published(store, signer, made[:5])
    before = dict(store.objects)
    other = commits([row(offset, status="OTHER") for offset in range(7)], 1)
    for conflicting in (other, other[3:], [made[4], other[2]]):
        with pytest.raises(IntegrityError, match="holds another commit"):
            publish(store, signer, STREAM, PARTITION, conflicting, NOW)
    assert store.objects == before


def test_a_checkpoint_put_back_is_not_signed_on(signer: Signer, made: list[LogCommit]) -> None:
    store = MemoryStore()
    published(store, signer, made[:5])
    old = store.objects[CHECKPOINT]
    published(store, signer, made[:10])
    store.objects[CHECKPOINT] = old
    other = commits([row(offset, status="OTHER") for offset in range(5, 12)], 1)
    with pytest.raises(IntegrityError, match="nothing was signed"):
        publish(store, signer, STREAM, PARTITION, other, NOW)
    assert store.objects[CHECKPOINT] == old
    published(store, signer, made[5:10])  # while the true commits bring it forward again


def test_a_checkpoint_that_was_removed_is_not_signed_anew(signer: Signer, made: list[LogCommit]) -> None:
    store = MemoryStore()
    published(store, signer, made[:5])
    del store.objects[CHECKPOINT]
    with pytest.raises(IntegrityError, match="nothing was signed"):
        publish(store, signer, STREAM, PARTITION, made[5:8], NOW)
    assert published(store, signer, made[:8]).text.split("\n")[1] == "8"


def test_tiles_that_do_not_lead_to_the_checkpoint_stop_it(signer: Signer, made: list[LogCommit]) -> None:
    store = MemoryStore()
    published(store, signer, made[:5])
    store.objects["tile/0/000.p/5"] = bytes(5 * 32)
    with pytest.raises(IntegrityError, match="do not lead to the root"):
        publish(store, signer, STREAM, PARTITION, made[:6], NOW)


def test_a_checkpoint_by_a_stranger_stops_it(signer: Signer, made: list[LogCommit]) -> None:
    store = MemoryStore()
    published(store, Signer.generate(NAME, NOW), made[:5])
    with pytest.raises(IntegrityError, match="none of the keys"):
        publish(store, signer, STREAM, PARTITION, made[:6], NOW)


def test_commits_of_another_partition_are_refused(signer: Signer, made: list[LogCommit]) -> None:
    with pytest.raises(IntegrityError, match="does not belong"):
        publish(MemoryStore(), signer, STREAM, PARTITION + 1, made[:1], NOW)
    with pytest.raises(IntegrityError, match="does not belong"):
        publish(MemoryStore(), signer, "reports", PARTITION, made[:1], NOW)


def test_a_leaf_file_of_another_commit_is_refused(signer: Signer, made: list[LogCommit]) -> None:
    swapped = LogCommit(made[0].entry, made[1].leaf_file)
    with pytest.raises(IntegrityError, match="leaf file"):
        publish(MemoryStore(), signer, STREAM, PARTITION, [swapped], NOW)


def test_two_who_publish_at_once_cannot_both_win(signer: Signer, made: list[LogCommit]) -> None:
    class Raced(MemoryStore):
        def swap(self, path: str, old: bytes | None, new: bytes) -> None:
            rival = bytes(signer.sign(Checkpoint(ORIGIN, 1, made[0].entry.leaves), NOW))
            self.objects[path] = rival
            super().swap(path, old, new)

    with pytest.raises(FencedError):
        publish(Raced(), signer, STREAM, PARTITION, made[:3], NOW)


def test_new_keys_sign_the_same_checkpoint_again(signer: Signer, made: list[LogCommit]) -> None:
    store = MemoryStore()
    before = published(store, signer, made[:5])
    rotated = signer.rotate(NOW)
    after = published(store, rotated, [])
    assert after.text == before.text
    assert rotated.history.verify(after) == rotated.history.sets[1]
    assert published(store, rotated, []) == after


def test_commits_without_a_row_in_scope_are_logged_too(signer: Signer) -> None:
    none = [row(offset, integrity_hash=None) for offset in range(3)]
    archive = Archive.of([*none, *rows(3, 3)], 3, signer)
    empty, full = archive.log.entries()
    assert (empty.commitment.count, empty.months, archive.log.leaf_file(empty)) == (0, None, b"")
    assert full.commitment.count == 3
    assert [path for path in archive.store.objects if path.startswith("leaves/")] == ["leaves/003"]


@pytest.mark.parametrize(
    "microseconds", [-(2**63) + 1, -70_000_000_000_000_000, 300_000_000_000_000_000, 2**63 - 1]
)
def test_rows_of_no_calendar_month_are_refused(microseconds: int) -> None:
    values = table(rows(3))
    at = values.column_names.index("event_time")
    times = pa.array([0, microseconds, 0], pa.int64()).cast(values.schema.field(at).type)
    with pytest.raises(IntegrityError, match="no month"):
        LogCommit.of(values.set_column(at, values.schema.field(at), times), STREAM, PARTITION, (0, 2), 1)


def test_rows_before_their_commit_are_refused() -> None:
    with pytest.raises(IntegrityError, match="before their commit"):
        LogCommit.of(table(rows(3)), STREAM, PARTITION, (1, 2), 1)
