"""`lethe` with something altered that cannot be set from outside; what, is said by LETHE_TEST_ALTERED (JSON).

`consumer`: settings of the feed's Kafka client; `slow_commit`: seconds every commit takes longer; `first_assignment`:
an exception in the first assignment callback; `revocation`: one in every revocation callback; `no_revoke`: the feed is
never told that partitions were taken away (`fenced`: and reads them again, as after a fenced commit); `stall`: seconds
for which the feed's thread calls nobody after its first batch; `told`: SIGTERM comes as soon as it has said where its
metrics are; `fenced`: so many commits find that another worker was
first; `unfetched`: after its first batch the feed's partitions are not fetched from while they are assigned
(`partition`), by this consumer (`consumer`), or until the file `until` is there (`ever`); and a standstill is seen
after `patience` seconds by looks `look` seconds apart.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from lethe.console.cli.main import main
from lethe.schemas.errors import FencedError
from lethe.streams.worker import feed
from lethe.streams.worker._assignment import Assignments
from lethe.streams.worker.pipeline import Pipeline
from lethe.tiers.warehouse import Warehouse

altered: dict[str, Any] = json.loads(os.environ["LETHE_TEST_ALTERED"])

if "consumer" in altered:
    options = feed.Feed._options
    feed.Feed._options = lambda self: {**options(self), **altered["consumer"]}  # type: ignore[method-assign]

if "slow_commit" in altered:
    commit = Warehouse.commit

    def slowly(self: Warehouse, *arguments: Any) -> Any:
        time.sleep(altered["slow_commit"])
        return commit(self, *arguments)

    Warehouse.commit = slowly  # type: ignore[method-assign]

if "fenced" in altered:
    unfenced = Warehouse.commit

    def fenced(self: Warehouse, *arguments: Any) -> Any:
        if altered["fenced"]:
            altered["fenced"] -= 1
            raise FencedError("elsewhere")
        return unfenced(self, *arguments)

    Warehouse.commit = fenced  # type: ignore[method-assign]

if "first_assignment" in altered:

    def refuse(self: Any, *arguments: Any) -> Any:
        raise RuntimeError("a stranger's text")

    Assignments.begin = refuse  # type: ignore[method-assign]

if "revocation" in altered:

    def refuse_to_let_go(self: Any, source: Any) -> None:
        raise RuntimeError("a stranger's text")

    Pipeline.revoked = refuse_to_let_go  # type: ignore[method-assign]

if "no_revoke" in altered:

    def unheard(self: Any, consumer: Any, partitions: Any) -> None:
        consumer.incremental_unassign(partitions)
        if altered["no_revoke"] == "fenced":  # as the next commit of what it still holds would be
            for p in partitions:
                self.restart(self._assignments.partitions[p.topic, p.partition].source.id)
            print("not told", flush=True)

    feed.Feed._on_revoke = unheard  # type: ignore[method-assign]

if "stall" in altered:
    hand_over = feed.Feed._hand_over

    def stalled(self: Any, partition: Any) -> None:
        hand_over(self, partition)
        time.sleep(altered.pop("stall", 0))

    feed.Feed._hand_over = stalled  # type: ignore[method-assign]

if "told" in altered:
    from lethe.operations.proof.publisher import Publisher

    publish = Publisher.start

    def told(self: Publisher) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        publish(self)

    Publisher.start = told  # type: ignore[method-assign]

if "unfetched" in altered:
    from lethe.streams.broker.standstill import Standstill

    how = altered["unfetched"]
    Standstill.patience, Standstill.look_seconds = how["patience"], how["look"]
    step, hand_on = feed.Feed._step, feed.Feed._hand_over
    paused: list[Any] = []  # consumers

    def unfetched(self: Any, partitions: Any) -> None:
        hand_on(self, partitions)
        if "for" in how and not paused:
            paused.append(self._consumer)
            self._consumer.pause(self._consumer.assignment())
            print("not fetched", flush=True)

    def again(consumer: Any) -> None:
        if how.get("for") == "ever" or (how.get("for") == "consumer" and consumer in paused):
            act = consumer.resume if Path(how.get("until", "")).is_file() else consumer.pause
            act(consumer.assignment())

    def step_on(self: Any) -> None:
        if paused:
            again(self._consumer)
        step(self)

    def restarted(self: Any, consumer: Any, source: str) -> None:
        restart(self, consumer, source)
        again(consumer)

    restart, Assignments.restart = Assignments.restart, restarted  # type: ignore[method-assign]
    feed.Feed._hand_over = unfetched  # type: ignore[method-assign]
    feed.Feed._step = step_on  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
