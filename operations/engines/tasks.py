"""What a worker of an engine does with the text of a task. Settings and keys are opened where it runs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import orjson

from lethe.operations import settings
from lethe.schemas.errors import ConfigurationError
from lethe.tiers.compaction.perform import perform
from lethe.tiers.compaction.plan import Task
from lethe.tiers.delta.log import DataFile
from lethe.tiers.store.objects import Objects, open_objects


def pack(task: Task, root: str, config: Path | None) -> str:
    """Return the text of a task of the warehouse at `root`, whose settings are in `config` wherever it runs."""
    return orjson.dumps([task.to_json(), root, None if config is None else str(config)]).decode()


def perform_packed(text: str) -> str:
    """Perform a task and return the file it wrote as text.

    Raises `ConfigurationError` where the settings are of another warehouse.
    """
    task, root, config = orjson.loads(text)
    written = perform(_objects(root, config), Task.from_json(task))
    return orjson.dumps(written).decode()


def unpack(text: str) -> DataFile | None:
    """Return the file that a task wrote; None if no row belonged in it."""
    raw = orjson.loads(text)
    return None if raw is None else DataFile(**raw)


@lru_cache(maxsize=4)
def _objects(root: str, config: str | None) -> Objects:
    mine = settings.load(Path(config) if config else None)
    if mine.root != root:
        raise ConfigurationError(
            "a worker has the settings of another warehouse; give all of them the same lethe.toml"
        )
    return open_objects(mine.root, {name: value.get_secret_value() for name, value in mine.storage.items()})
