"""The path without a broker: a warehouse, a kernel, and a pipeline fed by a reader that tests can disturb."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from checker import Checker, Message, Verdict
from workers import SMS

from lethe.keys.ring import KeyRing
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Flush, Settings
from lethe.schemas.declaration import format as formats
from lethe.schemas.transformed import TransformedBatch
from lethe.streams.transform.batch import Batch, Source
from lethe.streams.transform.transform import Transform
from lethe.streams.worker.metrics import Metrics
from lethe.streams.worker.pipeline import Pipeline
from lethe.tiers.ledger.reconcile import check
from lethe.tiers.warehouse import Warehouse

Labelled = Sequence[tuple[str, bytes | None]]


def source_of(name: str, partition: int = 0) -> Source:
    return Source(name, partition, f"cluster/{name}/{partition}", SMS)


def batch_of(
    source: Source, first: int, values: Sequence[bytes | None], sequence: int = 0, generation: int = 1
) -> Batch:
    offsets = np.arange(first, first + len(values), dtype=np.int64)
    return Batch(
        source, sequence, generation, first, first + len(values) - 1, offsets, list(values),
        np.full(len(values), int(datetime.now(UTC).timestamp() * 1000), np.int64),
    )  # fmt: skip


@dataclass
class Plant:
    """One warehouse with its keys. `clock` can be moved."""

    directory: Path
    ahead: Any = None  # a timedelta that the clock is ahead by
    produced: list[Message] = field(default_factory=list)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead if self.ahead else datetime.now(UTC)

    def runtime(self) -> Runtime:
        """Another process's view of the same installation."""
        settings = Settings(root=str(self.directory / "warehouse"), keys_dir=self.directory / "keys")
        return Runtime(settings, clock=self.now)

    def records(self, source: Source, values: Labelled, first: int = 0) -> list[bytes | None]:
        """Remember for the checker what is in a source, and return the bare values."""
        for offset, (label, value) in enumerate(values, first):
            good = label in ("good", "late", "envelope")
            self.produced.append(Message(source.stream, source.partition, offset, value, good=good))
        return [value for _, value in values]

    def judge(self) -> Verdict:
        """Every record exactly once in both tiers, and the ledger says so too."""
        verdict = Checker(self.directory / "warehouse", self.directory / "keys").judge(self.produced)
        assert verdict.kept, str(verdict)
        findings = check(self.runtime().warehouse)
        assert not findings, [str(f) for f in findings]
        return verdict


def prepare(
    transform: Transform, source: Source, first: int, values: Sequence[bytes | None]
) -> TransformedBatch:
    return transform.process(batch_of(source, first, values), formats.get(source.format))


class Writer:
    """One worker's committing half: a warehouse of its own on the plant's root."""

    def __init__(self, plant: Plant) -> None:
        self.runtime = plant.runtime()
        self.warehouse: Warehouse = self.runtime.warehouse
        self.ring: KeyRing = self.runtime.ring

    def commit(self, source: Source, values: Sequence[bytes | None], first: int, last: int) -> None:
        """Commit the records at offsets `first` to `last` (both included) of a source."""
        transformed = prepare(self.runtime.transform, source, first, values[first : last + 1])
        self.warehouse.commit([transformed], self.ring)

    def go_on(self, source: Source, values: Sequence[bytes | None], size: int = 100_000) -> None:
        """As a worker does when a partition is assigned to it: from the table's position to the end."""
        done = self.warehouse.position(source.id)
        at = 0 if done is None else done + 1
        while at < len(values):
            last = min(at + size, len(values)) - 1
            self.commit(source, values, at, last)
            at = last + 1


class Reels:
    """A feed that plays values from memory, and agents that take them off a channel that can lose them."""

    def __init__(
        self,
        plant: Plant,
        reels: dict[Source, Sequence[bytes | None]],
        *,
        size: int = 50,
        flush: Flush | None = None,
        agents: int = 2,
        together: int = 1,
    ) -> None:
        self.together = together  # batches in a load
        self.writer = Writer(plant)
        self.reels = {source.id: (source, values) for source, values in reels.items()}
        self.size = size
        self.commit: Callable[[list[TransformedBatch]], None] = lambda b: self.writer.warehouse.commit(
            b, self.writer.ring
        )
        self.lose: Callable[[Batch], bool] = lambda batch: False
        self.before_step: Callable[[], None] = lambda: None
        self.restarts: list[str] = []
        self.delivered: list[Batch] = []
        self.metrics = Metrics()
        flush = flush or Flush(records=200, seconds=0.2, batch=size)
        self.pipeline = Pipeline(
            self.writer.runtime.transform, lambda b: self.commit(b), flush, self.metrics, threads=agents
        )
        self.pipeline.finish_early = True
        self._agents = agents
        self._generation = 0
        self._asked: deque[str] = deque()
        self._todo: dict[str, deque[Batch]] = {}

    # -- what the pipeline sees ----------------------------------------------------------------------------------

    def restart(self, source: str) -> None:
        self.restarts.append(source)
        self._asked.append(source)

    def publish_offsets(self, done: dict[str, int]) -> None:
        pass

    def caught_up(self) -> bool:
        return bool(self._todo) and not self._asked and not any(self._todo.values())

    # -- what tests do -------------------------------------------------------------------------------------------

    def start(self, source_id: str) -> None:
        """Assign a source: from the table's position on."""
        source, values = self.reels[source_id]
        self._generation += 1
        done = self.writer.runtime.warehouse.table("metadata").transaction(source_id)
        at = 0 if done is None else done + 1
        self.pipeline.assigned(source, self._generation)
        self._todo[source_id] = deque(
            batch_of(source, first, values[first : first + self.size], number, self._generation)
            for number, first in enumerate(range(at, len(values), self.size))
        )

    def revoke(self, source_id: str) -> None:
        """Take a source away."""
        self._todo.pop(source_id, None)
        self.pipeline.revoked(self.reels[source_id][0])

    def run(self, seconds: float = 240) -> None:
        """Play everything until it is committed; raises what stopped the pipeline, and when it hangs."""
        asyncio.run(asyncio.wait_for(self._run(), seconds))

    async def _run(self) -> None:
        channel: asyncio.Queue[list[Batch]] = asyncio.Queue(2)

        def put(load: list[Batch]) -> Future[None]:
            self.delivered += load
            for batch in load:
                self.writer.warehouse.stamped(int(batch.received_ms[len(batch.values) - 1]))
            if load := [batch for batch in load if not self.lose(batch)]:
                channel.put_nowait(load)
            taken: Future[None] = Future()
            taken.set_result(None)
            return taken

        self.pipeline.connect(self, put)  # type: ignore[arg-type]
        for source in self.reels:
            self.start(source)

        async def feed() -> None:
            while True:
                await asyncio.sleep(0)
                self.before_step()
                while self._asked:
                    if (source := self._asked.popleft()) in self._todo:
                        self.start(source)
                todos = [todo for todo in self._todo.values() if todo]
                for start in range(0, len(todos), self.together):
                    if not channel.full():
                        self.pipeline.deliver(
                            [todo.popleft() for todo in todos[start : start + self.together]]
                        )
                await asyncio.sleep(0.002)

        async def agent() -> None:
            while True:
                await self.pipeline.process(await channel.get())

        tasks = [asyncio.create_task(feed()), *(asyncio.create_task(agent()) for _ in range(self._agents))]
        try:
            await self.pipeline.run(self.pipeline.drained)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.pipeline.close()
        if self.pipeline.error is not None:
            raise self.pipeline.error
