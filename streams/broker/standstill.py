"""Whether partitions are read from: one with messages waiting of which none is read shows in readiness and metrics.

The library knows the end of a partition as its last fetch brought it, so a consumer that fetches nothing sees no lag.
Here the broker is asked where partitions end, by a client of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import ClassVar, Final, Protocol

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin._listoffsets import OffsetSpec

from lethe.operations.settings import Settings
from lethe.schemas.errors import LetheError, TransientError
from lethe.streams.broker.client import ANSWER_SECONDS, Admin
from lethe.streams.transform.batch import Source

log = logging.getLogger("lethe.feed")

_MISSED_LOOKS: Final = 3
_THE_END: Final[Callable[[], OffsetSpec]] = OffsetSpec.latest

Place = tuple[str, int]
"""A topic, or the stream its records go by, and the number of a partition."""


class Read(Protocol):
    """An assigned partition, as far as it is watched."""

    @property
    def topic(self) -> str:
        """Its topic."""

    @property
    def source(self) -> Source:
        """What its records go by, and its number."""

    @property
    def read_to(self) -> int:
        """The offset behind all that was read of it."""


class Standstill:
    """Which assigned partitions stand still: messages wait, there is room, and for five minutes none was read.

    A broker that does not answer, a process that slept and a pipeline without room begin the time anew.
    """

    patience: ClassVar = 300.0
    look_seconds: ClassVar = 20.0

    def __init__(
        self,
        settings: Settings,
        assigned: Callable[[], Iterable[Read]],
        has_room: Callable[[], bool],
        show: Callable[[Iterable[Place]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._assigned, self._has_room, self._show = settings, assigned, has_room, show
        self._clock = clock
        self._admin: Admin | None = None
        self._looked = clock()
        self._over = threading.Event()
        # How far a partition was read, and since when no further.
        self._since: dict[Place, tuple[int, float]] = {}
        # How many messages wait: of partitions not read since the look before, and of those that stand still.
        self._behind: dict[Place, int] = {}
        self._still: dict[Place, int] = {}

    def trouble(self) -> str | None:
        """Say which partition stands still, if one does."""
        if not self._still:
            return None
        (stream, number), waiting = min(self._still.items())
        more = f", and {len(self._still) - 1} more" if len(self._still) > 1 else ""
        return (
            f"{stream} partition {number}{more}: {waiting} messages wait in Kafka and none was read for "
            f"{self.patience / 60:.0f} minutes; start this worker again"
        )

    def lag(self) -> dict[tuple[str, int], int]:
        """Return how far partitions are behind their end of which nothing was read since the look before."""
        return dict(self._behind)

    def start(self) -> None:
        """Look every `look_seconds`, in a thread that nobody waits for: a broker may take long to answer."""
        threading.Thread(target=self._watch, name="standstill", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(self.look_seconds):
            self.look()

    def look(self) -> None:
        """Ask the broker where the assigned partitions end, and compare with how far they are read."""
        now = self._clock()
        if now - self._looked > _MISSED_LOOKS * self.look_seconds:
            self._since = {}
        self._looked = now
        try:
            ends = self._ends((p.topic, p.source.partition) for p in self._assigned())
        except (KafkaException, LetheError, TimeoutError):
            self._admin, self._since = None, {}  # that shows elsewhere
            return
        room, since, behind = self._has_room(), {}, {}
        for partition in self._assigned():
            place, read = (partition.source.stream, partition.source.partition), partition.read_to
            waiting = ends.get((partition.topic, partition.source.partition), 0) - read
            known, at = self._since.get(place, (-1, now))
            stays = read == known and waiting > 0
            since[place] = (read, at if stays and room else now)
            if stays:
                behind[place] = waiting
        self._since, self._behind = since, behind
        self._tell({place: behind[place] for place in behind if now - since[place][1] >= self.patience})

    def _tell(self, still: dict[Place, int]) -> None:
        for stream, number in still.keys() - self._still.keys():
            log.error(
                "%s/%d: %d messages wait in Kafka and none was read for %d s, although there is room; start this "
                "worker again", stream, number, still[stream, number], self.patience,
            )  # fmt: skip
        for stream, number in self._still.keys() - still.keys():
            log.info("%s/%d no longer stands still", stream, number)
        self._still = still
        self._show(still)

    def _ends(self, places: Iterable[Place]) -> dict[Place, int]:
        """Ask for the last stable offset of each partition: what is read is what was committed by its producer."""
        wanted = {TopicPartition(*place): _THE_END() for place in places}
        if not wanted:
            return {}
        admin = self._admin = self._admin or Admin(self._settings)
        answers = admin.client.list_offsets(
            wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=ANSWER_SECONDS
        )
        found = {}
        for place, answer in answers.items():
            with suppress(KafkaException):  # one without a leader does not hide the others
                found[place.topic, place.partition] = int(answer.result(ANSWER_SECONDS).offset)
        if not found:
            raise TransientError("the broker tells no end of a partition")
        return found
