"""Whether partitions are read from: one with messages waiting of which none is read is begun anew, and shows.

It shows in readiness, log and metrics. What is done about it is bounded: each way to begin anew once, then it is only
said; the same again an hour later.

The library knows the end of a partition as its last fetch brought it, so a consumer that fetches nothing sees no lag.
Here the broker is asked where partitions end, by a client of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin._listoffsets import OffsetSpec

from lethe.operations.settings import Settings
from lethe.schemas.errors import LetheError, TransientError
from lethe.streams.broker.client import ANSWER_SECONDS, Admin
from lethe.streams.transform.batch import Source

log = logging.getLogger("lethe.feed")

_MISSED_LOOKS: Final = 3
_AGAIN_SECONDS: Final = 3_600.0  # after which all ways to begin anew may be tried again
_HELPLESS: Final = "start this worker again"
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


class Shown(Protocol):
    """Where it is seen: the worker's metrics."""

    def standing_still(self, partitions: Iterable[Place]) -> None:
        """Show which partitions stand still."""

    def begun_anew(self, how: str) -> None:
        """Count one that is begun anew."""


@dataclass(frozen=True, slots=True)
class Mend:
    """A way to begin partitions anew: its name as a metric's label, what is said of it, and what does it."""

    how: str
    said: str
    begin: Callable[[Sequence[Source]], None]


class Standstill:
    """Which assigned partitions stand still: messages wait, there is room, and for five minutes none was read.

    A broker that does not answer, a process that slept and a pipeline without room begin the time anew. Each way of
    `mends` is tried in turn, five minutes apart. They read from where the tables stand, so nothing is lost or doubled
    by them.
    """

    patience: ClassVar = 300.0
    look_seconds: ClassVar = 20.0

    def __init__(
        self,
        settings: Settings,
        assigned: Callable[[], Iterable[Read]],
        has_room: Callable[[], bool],
        shown: Shown,
        mends: Sequence[Mend] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._assigned, self._has_room = settings, assigned, has_room
        self._shown, self._mends, self._clock = shown, mends, clock
        self._admin: Admin | None = None
        self._looked = clock()
        self._over = threading.Event()
        # How far a partition was read, and since when no further.
        self._since: dict[Place, tuple[int, float]] = {}
        # How many messages wait: of partitions not read since the look before, and of those that stand still.
        self._behind: dict[Place, int] = {}
        self._still: dict[Place, int] = {}
        # How many ways to begin a partition anew were tried, and when the last one.
        self._tried: dict[Place, tuple[int, float]] = {}

    def trouble(self) -> str | None:
        """Say which partition stands still, if one does, and what is done about it."""
        if not self._still:
            return None
        place, waiting = min(self._still.items())
        more = f", and {len(self._still) - 1} more" if len(self._still) > 1 else ""
        return (
            f"{place[0]} partition {place[1]}{more}: {waiting} messages wait in Kafka and none was read for "
            f"{self.patience / 60:.0f} minutes; {self._said(self._tried.get(place, (0, 0.0))[0])}"
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
        room, since, behind = self._has_room(), dict[Place, tuple[int, float]](), dict[Place, int]()
        sources = dict[Place, Source]()
        for partition in self._assigned():
            place, read = (partition.source.stream, partition.source.partition), partition.read_to
            waiting = ends.get((partition.topic, partition.source.partition), 0) - read
            known, at = self._since.get(place, (-1, now))
            # One that was begun anew may be further back than it was: that is not yet read from.
            stays = waiting > 0 and (read == known or (place in self._still and read < known))
            since[place] = (read, at if stays and room else now)
            sources[place] = partition.source
            if stays:
                behind[place] = waiting
        self._since, self._behind = since, behind
        self._tell({place: behind[place] for place in behind if now - since[place][1] >= self.patience})
        self._mend(now, {place: sources[place] for place in self._still})

    def _tell(self, still: dict[Place, int]) -> None:
        for stream, number in (self._still.keys() - still.keys()) & self._since.keys():
            log.info("%s/%d no longer stands still", stream, number)
        self._still = still
        self._shown.standing_still(still)

    def _mend(self, now: float, still: Mapping[Place, Source]) -> None:
        """Begin partitions anew in the next way that was not tried of late, and say so; at last only say it."""
        due = dict[int, list[Source]]()
        for place, source in still.items():
            tried, at = self._tried.get(place, (0, float("-inf")))
            if now - at >= _AGAIN_SECONDS:
                tried = 0
            if now - at < self.patience or tried > len(self._mends):
                continue
            self._tried[place] = (tried + 1, now)
            due.setdefault(tried, []).append(source)
            log.error(
                "%s/%d: %d messages wait in Kafka and none was read for %d s, although there is room; %s",
                *place, self._still[place], now - self._since[place][1], self._said(tried + 1),
            )  # fmt: skip
        for tried, sources in due.items():
            if tried < len(self._mends):
                self._shown.begun_anew(self._mends[tried].how)
                self._mends[tried].begin(sources)

    def _said(self, tried: int) -> str:
        """Return what is said when so many ways were tried, or had nothing left to try."""
        return self._mends[tried - 1].said if 0 < tried <= len(self._mends) else _HELPLESS

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
