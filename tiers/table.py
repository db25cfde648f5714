"""A table of the warehouse: opened or made in one way, committed to in one way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from schemas.arrow import PARTITIONED_BY, TABLES
from schemas.errors import ConfigurationError, FencedError, TransientError, UnknownOutcomeError
from tiers.objects import Objects

_CONFIGURATION: Final[dict[str, str | None]] = {"delta.checkpointInterval": "20"}
"""Every commit reads the log back to the last checkpoint, 0.2 ms a version: with the 100 that are the default, half of
what a commit costs."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file ready to be added: its path below the table, its size and where it belongs."""

    path: str
    size: int
    partition: Mapping[str, str]
    rows: int
    modified_ms: int
    stats: str


class Table:
    """A handle on one Delta table. Not for use by two threads at a time."""

    def __init__(self, objects: Objects, name: str, storage: Mapping[str, str]) -> None:
        self.name = name
        self._objects = objects
        self._storage = dict(storage)
        self._delta = self._open_or_create()

    @property
    def url(self) -> str:
        """Where a Delta reader finds the table."""
        return self._objects.url(self.name)

    @property
    def version(self) -> int:
        """The version this handle has seen."""
        return int(self._delta.version())

    @property
    def delta(self) -> DeltaTable:
        """The library's own handle, for readers."""
        return self._delta

    def reload(self) -> None:
        """See what others have committed; raises `TransientError` when the store does not answer."""
        try:
            self._delta.update_incremental()
        except (DeltaError, OSError) as error:
            raise TransientError(f"table {self.name}: the store does not answer; is it reachable?") from error

    def transaction(self, source: str) -> int | None:
        """The last offset of a source this table holds, as seen by this handle."""
        found = self._delta.transaction_version(source)
        return None if found is None else int(found)

    def commit(
        self,
        add: Sequence[DataFile],
        transactions: Mapping[str, int],
        said: Mapping[str, str],
        remove: Sequence[RemoveAction] = (),
    ) -> int:
        """Commit through this very handle and return the new version.

        Raises `FencedError` when another writer committed one of the transaction ids since this handle was loaded,
        `UnknownOutcomeError` when the store did not say whether the commit landed.
        """
        actions: list[Any] = [
            AddAction(f.path, f.size, dict(f.partition), f.modified_ms, True, f.stats) for f in add
        ]
        before = self.version
        try:
            self._delta.create_write_transaction(
                [*actions, *remove],
                mode="append",
                schema=self._delta.schema(),
                partition_by=PARTITIONED_BY[self.name],
                commit_properties=CommitProperties(
                    custom_metadata=dict(said),
                    app_transactions=[
                        Transaction(source, version) for source, version in transactions.items()
                    ],
                ),
            )
        except CommitFailedError as error:
            if "oncurrent" in str(error):
                raise FencedError(f"{self.name}: another writer committed the same source") from None
            raise UnknownOutcomeError(f"{self.name}: the commit failed: {type(error).__name__}") from error
        except (DeltaError, OSError) as error:
            raise UnknownOutcomeError(
                f"{self.name}: the store did not confirm the commit; has it space, and are the rights right?"
            ) from error
        self.reload()
        self.sync(before)
        return self.version

    def sync(self, before: int) -> None:
        """Make the commits after version `before`, as far as this handle has seen them, survive a power cut."""
        for version in range(before + 1, self.version + 1):
            self._objects.sync(f"{self.name}/_delta_log/{version:020d}.json")

    def said_since(self, version: int, key: str) -> list[tuple[int, Any]]:
        """What commits after `version` said under a key of their metadata: (version, parsed JSON), oldest first."""
        # Commit by commit, from the log itself: the library's history counts from the newest version in the store,
        # which may be ahead of this handle when others are writing.
        said = []
        for at in range(version + 1, self.version + 1):
            data = self._objects.get(f"{self.name}/_delta_log/{at:020d}.json")
            if data is None:
                raise UnknownOutcomeError(
                    f"{self.name}: the log of version {at} is gone; restore it from a backup"
                )
            for line in data.splitlines():
                info = orjson.loads(line).get("commitInfo")
                if info is not None and key in info:
                    said.append((at, json.loads(info[key])))
        return said

    def _open_or_create(self) -> DeltaTable:
        url, schema = self.url, TABLES[self.name]
        try:
            try:
                return DeltaTable(url, storage_options=self._storage or None)
            except TableNotFoundError:
                # Racing workers: the first one makes it, the others are told that it is there.
                DeltaTable.create(
                    url, schema=_delta_schema(schema), partition_by=PARTITIONED_BY[self.name], mode="ignore",
                    storage_options=self._storage or None, configuration=_CONFIGURATION,
                )  # fmt: skip
                return DeltaTable(url, storage_options=self._storage or None)
        except (DeltaError, OSError) as error:
            raise ConfigurationError(
                f"table {self.name}: cannot be opened: {type(error).__name__}; check root and storage"
            ) from error


def _delta_schema(schema: pa.Schema) -> pa.Schema:
    """Delta knows no fixed-size binary; everything else is said as it is."""
    return pa.schema(
        [f.with_type(pa.binary()) if pa.types.is_fixed_size_binary(f.type) else f for f in schema]
    )
