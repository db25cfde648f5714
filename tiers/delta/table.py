"""A table of the warehouse: opened or made in one way, committed to in one way.

What appends is committed here: the log of the table is followed commit by commit, and one more created in it
(ADR 11). What takes files out, and what a table of a later protocol needs, goes through the Delta library.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake import Field as DeltaField
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from lethe.schemas.arrow import PARTITIONED_BY, TABLES
from lethe.schemas.descriptions import DESCRIBED
from lethe.schemas.errors import (
    ConfigurationError,
    FencedError,
    LetheError,
    TransientError,
    UnknownOutcomeError,
)
from lethe.tiers.delta import protocol
from lethe.tiers.delta._copies import Copy, SmallFiles, copied, file_system
from lethe.tiers.delta._datasets import by_partition, read_options
from lethe.tiers.delta.log import (
    Commit,
    DataFile,
    append_commit,
    checkpoint_path,
    log_path,
    read_checkpoint,
    read_commit,
)
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.store.objects import Objects

log = logging.getLogger("lethe.table")

_VERSIONS: Final = 20
"""Versions from one checkpoint to the next: whoever opens the table reads back to the last one, 0.4 ms a version."""
_CONFIGURATION: Final[dict[str, str | None]] = {"delta.checkpointInterval": str(_VERSIONS)}
_STALE: Final = 3_600.0
"""Seconds after which the log is no longer followed from where it was left, but looked at as a whole."""
_WAITS: Final = 6 * 3_600.0
"""Seconds that a file may wait for its commit: a quarter of what a sweep leaves a file alone that no commit names."""
_OPENINGS: Final = 5
"""Times that opening a table is tried whose log others clean meanwhile."""
_TRIES: Final = 1_000
"""Versions that others may take while one commit is made."""
_TAKEN: Final = "Failed to commit transaction: 0"
"""How the library says that somebody else has created the version that it was to create."""


class Table:
    """A handle on one Delta table. Not for use by two threads at a time."""

    def __init__(self, objects: Objects, name: str, storage: Mapping[str, str]) -> None:
        self.name = name
        self._objects = objects
        self._storage = dict(storage)
        self._small = SmallFiles(objects, name)
        self._copy: Copy | None = None  # of the log, which the library's handle reads
        self._library = self._open_or_create()
        self._version = int(self._library.version())
        self._looked = _now()
        self._appendable = self._may_append()
        # Transactions of all versions after that of the library's handle; of those before, what was asked for.
        self._transactions: dict[str, int | None] = {}

    @property
    def url(self) -> str:
        """Where a Delta reader finds the table."""
        return self._objects.url(self.name)

    @property
    def appendable(self) -> bool:
        """Whether the table has the protocol that Lethe gave it, and none that another engine has raised."""
        return self._appendable

    @property
    def version(self) -> int:
        """The version this handle has seen."""
        return self._version

    @property
    def delta(self) -> DeltaTable:
        """The library's own handle, for readers: at the version this one has seen, or a later one."""
        if self._library.version() < self._version:
            self._update()
        return self._library

    @property
    def stored(self) -> DeltaTable:
        """The library's own handle on the table where it lies, for what changes it or looks at what is there."""
        if self._copy is not None:
            self._update()
        return self.delta

    def dataset(self) -> Any:
        """Return the rows as an Arrow dataset; columns that no file of an earlier release has are null."""
        library = self.delta
        known = pa.schema(library.schema().to_arrow())
        added = [field for field in TABLES[self.name] if field.name not in known.names]
        actions = library.get_add_actions(flatten=True)
        found = library.to_pyarrow_dataset(
            filesystem=file_system(self._small, self.url, self._storage, actions),
            schema=pa.schema([*known, *added]), parquet_read_options=read_options(),
        )  # fmt: skip
        names = pa.schema(actions.schema).names
        return by_partition(found) if any(name.startswith("min.") for name in names) else found

    def reload(self, fresh: float = 0.0) -> None:
        """See what others have committed, unless that was looked at within `fresh` seconds.

        Raises `TransientError` when the store does not answer.
        """
        if _now() - self._looked < fresh:
            return
        if self._stale:
            self._update()
        else:
            self._follow()

    def transaction(self, source: str) -> int | None:
        """Return the last offset of a source this table holds, as seen by this handle."""
        if source not in self._transactions:
            try:
                self._transactions[source] = self._in_library(source)
            except TransientError:  # it reads the log now, and what it was loaded from may have been removed
                self._update()
                self._transactions[source] = self._in_library(source)
        return self._transactions[source]

    def commit(
        self,
        add: Sequence[DataFile],
        transactions: Mapping[str, int],
        commit_info: Mapping[str, str],
        remove: Sequence[RemoveAction] = (),
        data_change: bool = True,
    ) -> int:
        """Commit through this very handle and return the version it has then. It survives a power cut.

        `data_change` is False when the rows are the same as before, in other files.

        Raises `FencedError` when another writer committed one of the transaction ids since this handle was loaded, or
        when the commit does not count because the log was cleaned meanwhile: reload, look and try again.
        Raises `UnknownOutcomeError` when the store did not say whether the commit landed.

        1. Look whether the log was cleaned behind this handle. A crash here leaves nothing.
        2. Create the commit. A crash after it leaves a commit that the next start finds, unless step 1 was
           out of date by then: such a commit lies behind a checkpoint, and no handle believes it.
        3. Look again. What step 1 saw may have changed before step 2 (a process can be paused there for hours): a
           commit behind a checkpoint that does not hold it is taken back.
        4. Write a checkpoint if one is due.
        """
        # Step 1
        if self._stale or self._overtaken(self._version):
            self._look_again(transactions)
        fail_point(f"{self.name}.looked")
        # Step 2
        before = self._version
        by_library = bool(remove) or not self._appendable
        created = None
        if by_library:
            self._commit_by_library(add, transactions, commit_info, remove, data_change)
        else:
            data = append_commit(add, transactions, commit_info, PARTITIONED_BY[self.name])
            created = self._append(data, transactions)
        # Step 3
        if self._overtaken(before):
            self._confirm(created, add, transactions, remove)
        elif by_library:
            self.sync(before)
        # Step 4
        self._write_checkpoint(before)
        return self._version

    def add_missing_columns(self) -> None:
        """Add the columns that this release has and the table does not, made by an earlier one; rows hold nulls."""
        known = {field.name for field in self.delta.schema().fields}
        added = [field for field in _delta_schema(self.name) if field.name not in known]
        if added:
            try:
                self.stored.alter.add_columns([DeltaField.from_arrow(field) for field in added])
            except DeltaError:  # another process has added them meanwhile, or the next try does
                log.warning("table %s: its columns are changed by others", self.name)
            self.reload()

    def sync(self, before: int) -> None:
        """Make the commits after version `before`, as far as this handle has seen them, survive a power cut."""
        for version in range(before + 1, self._version + 1):
            self._sync(version)

    def _sync(self, version: int) -> None:
        """Make a commit survive a power cut; if it was cleaned from the log, what stands in its place."""
        path = log_path(self.name, version)
        if self._objects.sync(path):
            return
        if not self._overtaken(version - 1):
            raise UnknownOutcomeError(f"{self.name}: a commit was there and is gone; is the store sound?")
        while not all(self._objects.sync(left) for left in self._objects.list(path.rpartition("/")[0])):
            pass  # one more was cleaned away meanwhile: what stands in its place is listed now

    def info_since(self, version: int, key: str) -> list[tuple[int, Any]]:
        """Say what commits after `version` said under a key of their metadata: (version, parsed JSON), oldest first."""
        # Commit by commit, from the log itself: the library's history counts from the newest version in the store,
        # which may be ahead of this handle when others are writing.
        said = []
        for at in range(version + 1, self._version + 1):
            commit = self._read(at)
            if commit is None:
                raise UnknownOutcomeError(
                    f"{self.name}: the log of version {at} is gone; restore it from a backup"
                )
            if key in commit.info:
                said.append((at, json.loads(commit.info[key])))
        return said

    def _append(self, data: bytes, transactions: Mapping[str, int]) -> int | None:
        """Create the next version; where others have taken it without touching these transactions, the one after.

        Returns the version; None where the log was cleaned meanwhile, so that nobody can tell without a look.
        The file is created with all its bytes or not at all, and by one writer only. A crash before leaves nothing, a
        crash after leaves a commit that this worker's next start finds.
        """
        for _ in range(_TRIES):
            path = log_path(self.name, self._version + 1)
            try:
                created = self._objects.create(path, data)
                # An object store's client sends a request again whose answer was lost, and then is refused.
                theirs = None if created else self._objects.get(path)
            except (TransientError, OSError) as error:
                raise self._unconfirmed() from error
            if created or theirs == data:
                self._take_in(transactions)
                self._looked = _now()
                return self._version
            if theirs is None and self._overtaken(self._version):
                return None  # taken by somebody and cleaned away since: what became of this commit is looked at next
            if theirs is None:
                raise UnknownOutcomeError(f"{self.name}: a commit was there and is gone; is the store sound?")
            commit = read_commit(theirs, path)
            if commit.changes_table or commit.transactions.keys() & transactions.keys():
                raise FencedError(f"{self.name}: another writer committed the same source")
            self._take_in(commit.transactions)
            self._sync(self._version)  # what comes first must last as long
        raise FencedError(f"{self.name}: other writers commit all the time")

    def _commit_by_library(
        self,
        add: Sequence[DataFile],
        transactions: Mapping[str, int],
        commit_info: Mapping[str, str],
        remove: Sequence[RemoveAction],
        data_change: bool,
    ) -> None:
        actions: list[Any] = [
            AddAction(f.path, f.size, dict(f.partition), f.modified_ms, data_change, f.stats) for f in add
        ]
        properties = CommitProperties(
            custom_metadata=dict(commit_info),
            # One version, or none: the library overlooks that a commit which changed no data (a merge) took the same
            # files out, so it must not go on past the commits of others.
            max_commit_retries=0,
            app_transactions=[Transaction(source, version) for source, version in transactions.items()],
        )
        for _ in range(_TRIES):
            # At the version this handle has seen.
            behind = self._library.version() < self._version
            try:
                table = self._open(self._version) if behind or self._copy is not None else self._library
                protocol.check_writable(self.name, table.protocol())
                if remove and not {f.path for f in remove} <= _paths(table):
                    raise FencedError(f"{self.name}: another writer took one of the files out")
                table.create_write_transaction(
                    [*actions, *remove], mode="append", schema=table.schema(),
                    partition_by=PARTITIONED_BY[self.name], commit_properties=properties,
                )  # fmt: skip
            except CommitFailedError as error:
                if not str(error).endswith(_TAKEN):
                    raise UnknownOutcomeError(
                        f"{self.name}: the commit failed: {type(error).__name__}"
                    ) from error
            except (DeltaError, OSError) as error:
                raise self._unconfirmed() from error
            else:
                self._update()
                return
            self._look_again(transactions)
        raise FencedError(f"{self.name}: other writers commit all the time")

    def _confirm(
        self,
        created: int | None,
        add: Sequence[DataFile],
        transactions: Mapping[str, int],
        remove: Sequence[RemoveAction],
    ) -> None:
        """Look from the newest checkpoint whether the commit just made counts; raise `FencedError` if it does not.

        `created`: the version it was created as, to be taken back; None where that is not known.
        """
        try:
            self._reopen()
            if transactions:
                landed = all(self._in_library(source) == last for source, last in transactions.items())
            else:
                current = _paths(self._library)
                landed = {f.path for f in add} <= current and not {f.path for f in remove} & current
        except (LetheError, DeltaError, OSError) as error:
            raise self._unconfirmed() from error
        if landed:
            return
        if created is not None and created < self._version:
            self._objects.delete(log_path(self.name, created))
        raise FencedError(
            f"{self.name}: others went on and cleaned the log while this commit was made, so it does not count"
        )

    def _look_again(self, transactions: Mapping[str, int]) -> None:
        """Go on to the newest version, unless somebody has touched there what the commit is about."""
        known = {source: self.transaction(source) for source in transactions}
        self._update()
        if any(self.transaction(source) != last for source, last in known.items()):
            raise FencedError(f"{self.name}: another writer committed the same source")

    def _follow(self) -> None:
        """Read the commits that have been made since this handle looked last."""
        start = self._version
        commits: list[Commit] = []
        while (commit := self._read(start + 1 + len(commits))) is not None:
            commits.append(commit)
        if commits and self._overtaken(start):
            # One of them may have been created where the log was cleaned already: only a checkpoint can tell.
            self._reopen()
            return
        for at, commit in enumerate(commits, start + 1):
            if at <= self._version:
                continue  # taken in when the one that changed the table was
            self._take_in(commit.transactions)
            if commit.changes_table:
                self._appendable = False  # unless the library finds that it may be appended to
                self._update()
        self._looked = _now()

    def _take_in(self, transactions: Mapping[str, int]) -> None:
        self._transactions |= transactions
        self._version += 1

    def _read(self, version: int) -> Commit | None:
        path = log_path(self.name, version)
        data = self._get(path)
        return None if data is None else read_commit(data, path)

    def _overtaken(self, version: int) -> bool:
        """Tell whether there may be a checkpoint of a later version than this.

        Old commits are removed from the log once there is a checkpoint after them: one that is not there may have been.
        """
        data = self._get(checkpoint_path(self.name))
        newest = None if data is None else read_checkpoint(data)
        return data is not None and (newest is None or newest > version)

    def _get(self, path: str) -> bytes | None:
        try:
            return self._objects.get(path)
        except OSError as error:
            raise self._silent() from error

    def _update(self) -> None:
        """Bring the library's handle up to date, and this one to no less."""
        before = int(self._library.version())
        if self._copy is not None or self._overtaken(before):
            self._reopen()
            return
        try:
            self._library.update_incremental()
        except (DeltaError, OSError) as error:
            raise self._silent() from error
        while self._version < self._library.version():
            commit = self._read(self._version + 1)
            if commit is None:  # removed from the log meanwhile: the library has read its checkpoint
                self._version = int(self._library.version())
                self._transactions.clear()
            else:
                self._take_in(commit.transactions)
        self._appendable = self._may_append()
        self._looked = _now()
        if self._overtaken(before):
            self._reopen()

    def _reopen(self) -> None:
        """See the table as its newest checkpoint and the commits after it say, whatever this handle has followed."""
        for more in reversed(range(_OPENINGS)):
            try:
                self._library, self._copy = self._open(), None
                break
            except (DeltaError, OSError) as error:  # a commit it was about to read may have been cleaned away
                if not more:
                    raise self._silent() from error
        self._version = int(self._library.version())
        self._transactions.clear()
        self._appendable = self._may_append()
        self._looked = _now()

    @property
    def _stale(self) -> bool:
        return _now() - self._looked > _STALE

    def _in_library(self, source: str) -> int | None:
        try:
            found = self._library.transaction_version(source)
        except DeltaError as error:
            raise self._silent() from error
        return None if found is None else int(found)

    def _unconfirmed(self) -> UnknownOutcomeError:
        return UnknownOutcomeError(
            f"{self.name}: the store did not confirm the commit; has it space, and are the rights right?"
        )

    def _silent(self) -> TransientError:
        return TransientError(f"table {self.name}: the store does not answer; is it reachable?")

    def _may_append(self) -> bool:
        """Tell whether an append to the table needs nothing but what `lethe.tiers.delta.log` writes.

        Raises `ConfigurationError` when the table can no longer be read.
        """
        known = self._library.protocol()
        protocol.check_readable(self.name, known)
        return protocol.may_append(known)

    def _write_checkpoint(self, before: int) -> None:
        """Write a checkpoint when one has come due after version `before`. It only saves time: no failure counts."""
        if before // _VERSIONS != self._version // _VERSIONS:
            self.write_checkpoint()

    def write_checkpoint(self) -> None:
        """Write a checkpoint of the newest version, so that whoever opens the table reads no commit before it."""
        try:
            self._update()
            self._library.create_checkpoint()
            # Before the commits in it are removed: the library syncs nothing.
            self._objects.sync(f"{self.name}/_delta_log/{self._library.version():020d}.checkpoint.parquet")
            self._objects.sync(checkpoint_path(self.name))
            self._library.cleanup_metadata()
        except (LetheError, DeltaError, OSError) as error:
            log.warning("table %s: no checkpoint for now: %s", self.name, type(error).__name__)

    def _open(self, version: int | None = None) -> DeltaTable:
        return DeltaTable(self.url, version=version, storage_options=self._storage or None)

    def _open_or_create(self) -> DeltaTable:
        url = self.url
        if (found := copied(self._objects, self.name)) is not None:
            self._copy = found[1]
            return found[0]
        try:
            try:
                return self._open()
            except TableNotFoundError:
                # Racing workers: the first one makes it, the others are told that it is there.
                DeltaTable.create(
                    url, schema=_delta_schema(self.name), partition_by=PARTITIONED_BY[self.name], mode="ignore",
                    storage_options=self._storage or None, configuration=_CONFIGURATION,
                )  # fmt: skip
                return self._open()
        except (DeltaError, OSError) as error:
            if "Unsupported" in str(error) or "atalog" in str(
                error
            ):  # by a kernel that knows no such protocol
                raise protocol.upgraded(self.name, "read", []) from error
            raise ConfigurationError(
                f"table {self.name}: cannot be opened: {type(error).__name__}; check root and storage"
            ) from error


def _paths(table: DeltaTable) -> set[str]:
    return set(
        pa.RecordBatchReader.from_stream(table.get_add_actions()).read_all().column("path").to_pylist()
    )


def _now() -> float:
    """Read a clock in seconds that nobody sets and that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Waited:
    """How long files have waited for their commit since this was made: after long a sweep takes them for orphans."""

    def __init__(self) -> None:
        self._since = _now()

    def too_long(self) -> bool:
        """Tell whether a sweep may have removed the files meanwhile."""
        return _now() - self._since > _WAITS

    def check(self, table: str) -> None:
        """Raise `FencedError` before a commit of files that may have been removed meanwhile."""
        if self.too_long():
            raise FencedError(
                f"{table}: files waited too long for their commit and may be gone; write them again"
            )


def _delta_schema(table: str) -> pa.Schema:
    """Return a table's columns with what they say. Delta knows no fixed-size binary; all else is as it is."""
    said = DESCRIBED.get(table, {})
    plain = [f.with_type(pa.binary()) if pa.types.is_fixed_size_binary(f.type) else f for f in TABLES[table]]
    return pa.schema([f.with_metadata({"comment": said[f.name]}) if f.name in said else f for f in plain])
