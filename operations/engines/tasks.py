"""What a worker of an engine does with the text of a task. Settings and keys are opened where it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import orjson

from lethe.operations import settings
from lethe.operations.engines import Engine
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import ConfigurationError
from lethe.tiers.adjustments import table as adjustments
from lethe.tiers.compaction.perform import perform
from lethe.tiers.compaction.plan import Task
from lethe.tiers.delta.log import DataFile
from lethe.tiers.delta.table import Table
from lethe.tiers.evidence.parts import COMPARE, LOOK


@dataclass(frozen=True, slots=True)
class Cluster:
    """An engine, the warehouse its tasks are about, and where its workers find their settings (None: as ever)."""

    engine: Engine = field(repr=False)
    root: str
    config: Path | None

    def map(self, kind: str, tasks: Sequence[Any]) -> Iterator[Any]:
        """Run tasks of a kind, given as plain values, and yield what came of each, in their order."""
        texts = [pack(kind, task, self.root, self.config) for task in tasks]
        return (orjson.loads(text) for text in self.engine.map(perform_packed, texts))


def pack(kind: str, task: Any, root: str, config: Path | None) -> str:
    """Return the text of a task of the warehouse at `root`, whose settings are in `config` wherever it runs."""
    return orjson.dumps([kind, task, root, None if config is None else str(config)]).decode()


def perform_packed(text: str) -> str:
    """Perform a task and return what came of it as text.

    Raises `ConfigurationError` where the settings are of another warehouse.
    """
    kind, task, root, config = orjson.loads(text)
    return orjson.dumps(_KINDS[kind](_runtime(root, config), task)).decode()


def file_of(raw: Any) -> DataFile | None:
    """Return the file that a task wrote; None if no row belonged in it."""
    return None if raw is None else DataFile(**raw)


def _compact(runtime: Runtime, task: Any) -> Any:
    written = perform(runtime.objects, Task.from_json(task))
    return None if written is None else asdict(written)


def _adjust(runtime: Runtime, task: Any) -> Any:
    def table(name: str) -> Table:
        return Table(runtime.objects, name, runtime.storage)

    return [asdict(f) for f in adjustments.perform(runtime.objects, table, adjustments.Task(**task))]


def _look(runtime: Runtime, task: Any) -> Any:
    from lethe.operations.proof import (
        verify,  # half of the product, which whoever only asks for a job needs nothing of
    )

    return verify.look(runtime, task)


def _compare(runtime: Runtime, task: Any) -> Any:
    from lethe.operations.proof import verify

    return verify.compare(runtime, task)


def _look_for_people(runtime: Runtime, task: Any) -> Any:
    from lethe.tiers.rights import spread

    return spread.look(runtime.warehouse, runtime.ring, task)


def _clean(runtime: Runtime, task: Any) -> Any:
    from lethe.tiers.rights import spread

    return spread.clean(runtime.warehouse, runtime.ring, task)


_KINDS: Final[dict[str, Callable[[Runtime, Any], Any]]] = {
    "compact": _compact,
    "adjust": _adjust,
    LOOK: _look,
    COMPARE: _compare,
    "erase.look": _look_for_people,
    "erase.clean": _clean,
}


@lru_cache(maxsize=4)
def _runtime(root: str, config: str | None) -> Runtime:
    mine = settings.load(Path(config) if config else None)
    if mine.root != root:
        raise ConfigurationError(
            "a worker has the settings of another warehouse; give all of them the same lethe.toml"
        )
    return Runtime(mine)
