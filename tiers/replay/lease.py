"""The lease to replay: whoever takes it fences every replay that took it before, at each table it could commit to.

A replay cannot be told from one that died, so it is never waited for. Commits of workers carry other transaction ids
and are not touched by a lease.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Final

import orjson
import pyarrow as pa
from deltalake.transaction import RemoveAction

from lethe.schemas.arrow import WINDOW_TABLES
from lethe.schemas.errors import FencedError
from lethe.tiers.commit.ledger_entries import REPLAYED
from lethe.tiers.delta.files import write_files
from lethe.tiers.delta.log import DataFile
from lethe.tiers.delta.table import Table
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.store.objects import Objects
from lethe.tiers.warehouse import Warehouse

_FOLDER: Final = "_replay"
_TRIES: Final = 20
_TAKEN: Final = "another replay was begun meanwhile and goes on with it; run it again when that one has ended"


def begun(objects: Objects) -> list[str]:
    """List when each replay began that has not come to its end: running, or interrupted; nobody can tell which."""
    notes = (objects.get(path) for path in objects.list(_FOLDER))
    return sorted(str(orjson.loads(note)["begun"]) for note in notes if note is not None)


class ReplayLease:
    """The right to replay, held from `take` until someone else takes it; every commit looks whether it is held still.

    `interrupted`: an earlier one did not come to its end, or has been fenced just now.
    """

    def __init__(self, warehouse: Warehouse, number: int, earlier: Sequence[str]) -> None:
        self._warehouse = warehouse
        self._number = number
        self._files = 0
        self._earlier = list(earlier)
        self._note = f"{_FOLDER}/{secrets.token_hex(8)}.json"

    @classmethod
    def take(cls, warehouse: Warehouse, now: str) -> ReplayLease:
        """Take the lease; `now` is noted for people. Raises `FencedError` when another replay takes it just now.

        1. Look who has begun a replay and not ended it: all of them are fenced by what follows.
        2. Commit the number of the lease to the metadata, then to the window tables. A crash leaves numbers.
        3. Note that a replay is under way. From here on a crash shows, and the next lease recovers what it left.
        """
        # Step 1
        earlier = warehouse.objects.list(_FOLDER)
        # Step 2
        warehouse.metadata.reload()
        lease = cls(warehouse, (warehouse.metadata.transaction(REPLAYED) or 0) + 1, earlier)
        lease._claim(warehouse.metadata)
        for name in WINDOW_TABLES:
            lease._claim(warehouse.window[name])
        fail_point("replay.claimed")
        # Step 3
        warehouse.objects.create(lease._note, orjson.dumps({"begun": now}))
        fail_point("replay.noted")
        return lease

    @property
    def interrupted(self) -> bool:
        """Tell whether there may be something to recover."""
        return bool(self._earlier)

    def recovered(self) -> None:
        """Note that what earlier replays left has been recovered."""
        for path in self._earlier:
            self._warehouse.objects.delete(path)
        self._earlier = []

    def end(self) -> None:
        """Remove the note: nothing is left to be recovered."""
        self._warehouse.objects.delete(self._note)

    def write(self, table: str, rows: pa.Table, now_ms: int) -> list[DataFile]:
        """Write rows as files, not yet committed. No other lease or commit ever writes files of these names.

        A file that was taken out once may be deleted at any time: its path must never be added again.
        """
        self._files += 1
        files = write_files(
            self._warehouse.objects, table, rows, f"replay-{self._number}-{self._files}", now_ms
        )
        fail_point(f"replay.written.{table}")
        return files

    def commit(
        self,
        table: str,
        add: Sequence[DataFile],
        remove: Sequence[DataFile] = (),
        said: Mapping[str, str] | None = None,
        more: Mapping[str, int] | None = None,
    ) -> bool:
        """Commit through the handle as it was loaded last; False when another writer touched the same files.

        `more`: transaction ids that go with the commit, besides the lease's own.

        Raises `FencedError` when the lease was taken, `UnknownOutcomeError` when the store did not answer: the next
        lease finds out.
        """
        handle = self._warehouse.handle(table)
        self._check(handle)
        gone = [RemoveAction(f.path, True, f.modified_ms, f.size, dict(f.partition)) for f in remove]
        try:
            handle.commit(add, {REPLAYED: self._number, **(more or {})}, said or {}, remove=gone)
        except FencedError:
            handle.reload()
            self._check(handle)
            return False
        fail_point(f"replay.committed.{table}")
        return True

    def _claim(self, handle: Table) -> None:
        for _ in range(_TRIES):
            handle.reload()
            if (handle.transaction(REPLAYED) or 0) >= self._number:
                break
            try:
                handle.commit([], {REPLAYED: self._number}, {})
                return
            except FencedError:
                continue
        raise FencedError(_TAKEN)

    def _check(self, handle: Table) -> None:
        if handle.transaction(REPLAYED) != self._number:
            raise FencedError(_TAKEN)
