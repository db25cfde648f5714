"""When a partition counts as standing still: messages wait, there is room, and for minutes none was read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from lethe.operations.settings import Settings
from lethe.schemas.errors import TransientError
from lethe.streams.broker.standstill import Mend, Place, Standstill
from lethe.streams.worker.metrics import Metrics

MINUTE = 60.0


class Watched(Standstill):
    """One whose broker, feed and clock are the test's."""

    def __init__(self) -> None:
        self.now, self.room, self.away = 0.0, True, False
        self.ends: dict[Place, int] = {("cdr", 0): 0, ("cdr", 1): 0}
        self.read: dict[Place, int] = dict(self.ends)
        self.shown = Metrics()
        self.mended: list[tuple[float, str, list[int]]] = []  # minute, how, partitions
        self.cured_by = ""
        mends = [Mend(how, f"it is {how} anew", self.mend(how)) for how in ("assigned", "joined")]
        super().__init__(Settings(), self.assigned, lambda: self.room, self.shown, mends, lambda: self.now)

    def mend(self, how: str) -> Callable[[Sequence[Any]], None]:
        def begin(sources: Sequence[Any]) -> None:
            self.mended.append((self.now / MINUTE, how, sorted(source.partition for source in sources)))
            for source in sources:
                # Begun anew it is where the tables stand, behind what was read.
                place = source.stream, source.partition
                self.read[place] = max(0, self.read[place] - 5)
                if how == self.cured_by:
                    self.read[place] = self.ends[place]

        return begin

    def assigned(self) -> list[Any]:
        return [
            SimpleNamespace(topic=topic, source=SimpleNamespace(stream=topic, partition=number), read_to=read)
            for (topic, number), read in self.read.items()
        ]

    def _ends(self, places: Iterable[Place]) -> dict[Place, int]:
        if self.away:
            raise TransientError("no answer")
        return {place: self.ends[place] for place in places}

    def goes_by(self, minutes: float) -> str | None:
        """Let time go by, looking as often as the worker does; return what is said at its end."""
        until = self.now + minutes * MINUTE
        while self.now < until:
            self.now += self.look_seconds
            self.look()
        return self.trouble()

    def metric(self, partition: int) -> float | None:
        labels = {"stream": "cdr", "partition": str(partition)}
        return self.shown.registry.get_sample_value("lethe_partition_stands_still", labels)

    def anew(self, how: str) -> float | None:
        return self.shown.registry.get_sample_value("lethe_standstills_begun_anew_total", {"how": how})


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_messages_that_nobody_reads_show_after_five_minutes(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.goes_by(1)
    watched.ends["cdr", 1] = 7
    assert watched.goes_by(4.5) is None
    assert watched.lag() == {("cdr", 1): 7}
    watched.ends["cdr", 1] = 20
    assert watched.goes_by(1) == (
        "cdr partition 1: 20 messages wait in Kafka and none was read for 5 minutes; it is assigned anew"
    )
    assert [r.message for r in caplog.records] == [
        "cdr/1: 20 messages wait in Kafka and none was read for 300 s, although there is room; it is assigned anew"
    ]
    assert (watched.metric(0), watched.metric(1)) == (None, 1)
    watched.read["cdr", 1] = 1
    assert watched.goes_by(1) is None
    assert watched.metric(1) is None


def test_several_are_named_together(watched: Watched) -> None:
    watched.ends = {("cdr", 0): 3, ("cdr", 1): 7}
    said = watched.goes_by(6)
    assert said is not None
    assert said.startswith("cdr partition 0, and 1 more: 3 messages wait")


def test_it_is_no_standstill_while_nothing_waits_or_something_is_read(watched: Watched) -> None:
    assert watched.goes_by(60) is None, "at rest"
    watched.ends["cdr", 0] = 1_000_000
    for _ in range(30):
        watched.read["cdr", 0] += 1
        assert watched.goes_by(2) is None, "slow, but it moves"
    assert watched.lag() == {("cdr", 0): 999_970}


def test_it_is_no_standstill_while_the_pipeline_has_no_room(watched: Watched) -> None:
    watched.ends["cdr", 0], watched.room = 1_000, False
    assert watched.goes_by(60) is None
    watched.room = True
    assert watched.goes_by(4.5) is None
    assert watched.goes_by(1) is not None


def test_a_broker_that_was_away_and_a_process_that_slept_begin_anew(watched: Watched) -> None:
    watched.ends["cdr", 0] = 1_000
    watched.goes_by(4)
    watched.away = True
    assert watched.goes_by(30) is None
    watched.away = False
    assert watched.goes_by(4.5) is None
    watched.now += 30 * MINUTE
    assert watched.goes_by(4.5) is None
    assert watched.goes_by(1) is not None


def test_what_another_worker_took_over_does_not_count(watched: Watched) -> None:
    watched.ends["cdr", 0] = 1_000
    assert watched.goes_by(6) is not None
    del watched.read["cdr", 0]
    assert watched.goes_by(0.5) is None


def test_it_is_begun_anew_one_way_after_the_other_and_then_only_said(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.goes_by(1)
    watched.read["cdr", 0] = watched.ends["cdr", 0] = 40
    watched.goes_by(1)
    watched.ends["cdr", 0] = 50
    watched.goes_by(60)
    assert [(how, partitions) for _, how, partitions in watched.mended] == [
        ("assigned", [0]),
        ("joined", [0]),
    ]
    assert watched.mended[1][0] - watched.mended[0][0] == pytest.approx(5, abs=0.5)
    said = watched.trouble()
    assert said is not None
    assert said.endswith("start this worker again")
    assert [r.message.rpartition("; ")[2] for r in caplog.records] == [
        "it is assigned anew", "it is joined anew", "start this worker again"
    ]  # fmt: skip
    watched.goes_by(18)
    assert len(watched.mended) == 3, "once an hour, not more often"
    assert [watched.anew(how) for how in ("assigned", "joined")] == [2, 1]


def test_one_that_reads_again_is_left_alone(watched: Watched) -> None:
    watched.cured_by = "joined"
    watched.ends = {("cdr", 0): 3, ("cdr", 1): 7}
    watched.goes_by(30)
    assert [(how, partitions) for _, how, partitions in watched.mended] == [
        ("assigned", [0, 1]), ("joined", [0, 1])
    ]  # fmt: skip
    assert watched.trouble() is None
    assert (watched.metric(0), watched.metric(1)) == (None, None)
