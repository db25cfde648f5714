"""Keys move from one provider to another under load: every month opens all the time, and what ended stays ended."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from keys_fakes import Clock, Crash, ForgetfulProvider, MemoryBlobs, Mortal

from lethe.keys.keeping.migration import Migration, Moved
from lethe.keys.providers.choice import Providers
from lethe.keys.ring import KeyRing
from lethe.operations.keys.check import check_keys
from lethe.schemas.errors import ConfigurationError, ExpiredKeyError, LetheError, TransientError
from lethe.schemas.retention.calendar import Month

NOW = datetime(2025, 6, 1, tzinfo=UTC)
MOVED = Moved("2025-01.w12", "local", "hsm", True)
MONTHS = [Month(2025, month) for month in range(1, 6)]


class World:
    def __init__(self) -> None:
        self.here, self.there = ForgetfulProvider(), ForgetfulProvider()
        self.blobs, self.clock = MemoryBlobs(), Clock(NOW)

    def providers(self, mortal: Mortal | None = None) -> Providers:
        def through(provider: Any) -> Any:
            return provider if mortal is None else mortal.wrapping(provider)

        return Providers("local", {"local": lambda: through(self.here), "hsm": lambda: through(self.there)})

    def ring(self, mortal: Mortal | None = None) -> KeyRing:
        return KeyRing(self.providers(mortal), self.blobs, self.clock)

    def migration(self, target: str = "hsm", mortal: Mortal | None = None) -> Migration:
        blobs = self.blobs if mortal is None else mortal.wrapping(self.blobs)
        return Migration(self.providers(mortal), blobs, self.clock, target)


@pytest.fixture
def world() -> World:
    return World()


def secrets(ring: KeyRing) -> list[bytes]:
    return [ring.keys_for(month).token_key.reveal() for month in MONTHS]


def made(world: World) -> list[bytes]:
    ring = world.ring()
    for month in MONTHS:
        ring.keys_for(month, create=True)
    ring.named("hold.7", create=True)
    return secrets(ring)


def test_every_key_moves_and_opens_there_alone(world: World) -> None:
    before = made(world)
    worker = world.ring()
    assert secrets(worker) == before
    moved = list(world.migration().run())
    assert len(moved) == len(MONTHS) + 1
    assert all((m.source, m.target, m.changed) == ("local", "hsm", True) for m in moved)
    assert world.here.keys == {}
    assert secrets(world.ring()) == before
    worker.evict()  # the same process, its leases over
    assert secrets(worker) == before
    assert worker.named("hold.7").key_id == "hold.7"
    assert [m.changed for m in world.migration().run()] == [False] * len(moved)


def test_new_months_are_made_where_the_keys_went(world: World) -> None:
    made(world)
    running = world.ring()
    running.keys_for(MONTHS[0])
    list(world.migration().run())
    running.keys_for(Month(2025, 6), create=True)
    assert "2025-06.w12" in world.there.keys
    assert world.here.keys == {}


def test_keys_move_back_and_on(world: World) -> None:
    before = made(world)
    for target in ("hsm", "local", "hsm"):
        list(world.migration(target).run())
        assert secrets(world.ring()) == before
    assert sorted(world.there.keys) == sorted([f"{m}.w12.g3" for m in MONTHS] + ["hold.7.g3"])


def test_workers_that_open_all_the_time_never_fail(world: World) -> None:
    before = made(world)
    stop, wrong = threading.Event(), []

    def work() -> None:
        ring = world.ring()
        while not stop.is_set():
            try:
                if secrets(ring) != before:
                    wrong.append("other keys")
                ring.keys_for(Month(2025, 6), create=True)
            except LetheError as error:
                wrong.append(repr(error))
            ring.evict()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for target in ("hsm", "local") * 10:
        list(world.migration(target).run())
    stop.set()
    for worker in workers:
        worker.join()
    assert wrong == []


@pytest.mark.parametrize("persisted", [False, True])
def test_killed_at_each_step_every_key_opens_and_the_next_run_finishes(persisted: bool) -> None:
    counting = Mortal(None, persisted=True)
    first = World()
    made(first)
    list(first.migration(mortal=counting).run())
    assert counting.calls > 20
    for at in range(counting.calls):
        world = World()
        before = made(world)
        with pytest.raises(Crash):
            list(world.migration(mortal=Mortal(at, persisted)).run())
        assert secrets(world.ring()) == before
        list(world.migration().run())
        assert secrets(world.ring()) == before
        assert world.here.keys == {}


@pytest.mark.parametrize("persisted", [False, True])
def test_a_month_that_ends_after_a_crash_leaves_no_key_anywhere(persisted: bool) -> None:
    counting = Mortal(None, persisted=True)
    first = World()
    made(first)
    list(first.migration(mortal=counting).run())
    for at in range(counting.calls):
        world = World()
        made(world)
        with pytest.raises(Crash):
            list(world.migration(mortal=Mortal(at, persisted)).run())
        ring = world.ring()
        for month in MONTHS:
            ring.destroy(month, early=True)
            assert ring.destroyed_for_good_at(month) is not None
        ring.destroy_named("hold.7")
        assert (world.here.keys, world.there.keys) == ({}, {})
        assert all(path.endswith(".destroyed.json") or "provider." in path for path in world.blobs.objects)


def test_a_month_destroyed_between_two_steps_stays_destroyed() -> None:
    counting = Mortal(None, persisted=True)
    first = World()
    first.ring().keys_for(MONTHS[0], create=True)
    list(first.migration(mortal=counting).run())
    for at in range(counting.calls):
        world = World()
        world.ring().keys_for(MONTHS[0], create=True)

        class Interrupting(Mortal):
            def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
                if self.calls == at:  # noqa: B023  (used within the round)
                    world.ring().destroy(MONTHS[0], early=True)  # noqa: B023
                return super().call(function, *args, **kwargs)

        assert list(world.migration(mortal=Interrupting(None, persisted=True)).run()) in ([], [MOVED])
        world.ring().destroy(MONTHS[0], early=True)
        assert (world.here.keys, world.there.keys) == ({}, {})
        with pytest.raises(ExpiredKeyError):
            world.ring().keys_for(MONTHS[0], create=True)


def test_a_target_that_does_not_answer_changes_nothing(world: World) -> None:
    before = made(world)

    def away() -> Any:
        raise TransientError("away")

    world.there.list = away  # type: ignore[method-assign]
    with pytest.raises(TransientError):
        list(world.migration().run())
    assert sorted(world.blobs.objects) == sorted(k for k in world.blobs.objects if ".g" not in k)
    assert secrets(KeyRing(Providers.only(world.here), world.blobs, world.clock)) == before


def test_a_process_learns_of_a_provider_that_was_set_up_after_its_start(world: World) -> None:
    before = made(world)
    late: dict[str, Any] = {}
    worker = KeyRing(
        Providers("local", {"local": lambda: world.here}, lambda: late), world.blobs, world.clock
    )
    assert secrets(worker) == before
    list(world.migration().run())
    worker.evict()
    with pytest.raises(ConfigurationError, match=r"add \[keys.providers.hsm\]"):
        secrets(worker)
    late["hsm"] = lambda: world.there
    assert secrets(worker) == before


# lethe keys check


def test_check_tells_what_opens_what_is_lost_and_what_is_late(world: World) -> None:
    made(world)
    list(world.migration().run())
    del world.there.keys["2025-02.w12.g1"]
    world.clock.now = datetime(2026, 2, 10, tzinfo=UTC)  # January ended nine days ago
    ring = world.ring()
    reports = {r.key_id: r for r in check_keys(ring, world.clock())}
    assert (reports["2025-03.w12"].opens, reports["2025-03.w12"].trouble) == (True, "")
    assert "does not open: no key 2025-02.w12.g1" in reports["2025-02.w12"].trouble
    assert reports["2025-01.w12"].opens
    assert "ended 9 days ago and it still opens" in reports["2025-01.w12"].trouble
    ring.destroy(MONTHS[0])
    gone = next(r for r in check_keys(ring, world.clock()) if r.key_id == "2025-01.w12")
    assert (gone.state, gone.opens, gone.trouble) == ("destroyed", False, "")
    assert gone.gone is not None


def test_check_takes_nothing_from_memory(world: World) -> None:
    made(world)
    ring = world.ring()
    secrets(ring)
    world.here.keys.clear()
    assert all(r.trouble for r in check_keys(ring, NOW))
