"""The ring opens a month's keys while its window is open, makes them once, and destroys them for ever."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import pytest
from keys_fakes import Clock, Crash, ForgetfulProvider, Interrupted, MemoryBlobs, Mortal

from lethe.keys.blobs import LocalBlobs
from lethe.keys.kept import KeptNames
from lethe.keys.providers.local import LocalProvider
from lethe.keys.ring import KeyRing, MonthKeys, UnknownKeyError, month_key_id
from lethe.schemas.errors import (
    ConfigurationError,
    ExpiredKeyError,
    IntegrityError,
    LetheError,
    TransientError,
)
from lethe.schemas.retention.calendar import Month, window_end

MONTH = Month(2024, 2)
END = datetime(2025, 3, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)
KEY = "2024-02.w12"
WRAPPED, MARK = f"_keys/{KEY}.json", f"_keys/{KEY}.destroyed.json"


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2024, 2, 29, 12, tzinfo=UTC))


@pytest.fixture
def provider() -> ForgetfulProvider:
    return ForgetfulProvider()


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


@pytest.fixture
def ring(provider: ForgetfulProvider, blobs: MemoryBlobs, clock: Clock) -> KeyRing:
    return KeyRing(provider, blobs, clock)


def same(one: MonthKeys, other: MonthKeys) -> bool:
    return one.key_id == other.key_id and all(
        getattr(one, name) == getattr(other, name)
        for name in ("token_key", "message_key", "sealing_key", "salt_key")
    )


# Making and opening


def test_a_month_has_no_keys_until_they_are_made(ring: KeyRing, provider: ForgetfulProvider) -> None:
    with pytest.raises(UnknownKeyError, match=r"no keys 2024-02\.w12"):
        ring.keys_for(MONTH)
    assert provider.keys == {}
    assert ring.keys_for(MONTH, create=True).key_id == KEY
    assert ring.keys_for(MONTH).key_id == KEY


def test_every_worker_and_every_later_day_has_the_same_keys(
    ring: KeyRing, provider: ForgetfulProvider, blobs: MemoryBlobs, clock: Clock
) -> None:
    first = ring.keys_for(MONTH, create=True)
    clock.advance(days=200)
    assert same(first, ring.keys_for(MONTH, create=True))
    assert same(first, KeyRing(provider, blobs, clock).keys_for(MONTH))
    assert same(first, KeyRing(provider, blobs, clock).keys_for(MONTH, create=True))


def test_months_and_windows_have_keys_of_their_own(ring: KeyRing) -> None:
    wanted = [(MONTH, 12), (MONTH, 6), (MONTH, 120), (Month(2024, 3), 12), (Month(2025, 2), 12)]
    keys = [ring.keys_for(month, window, create=True) for month, window in wanted]
    assert [k.key_id for k in keys] == [
        "2024-02.w12",
        "2024-02.w6",
        "2024-02.w120",
        "2024-03.w12",
        "2025-02.w12",
    ]
    assert len({k.token_key.reveal() for k in keys}) == 5


def test_the_provider_is_asked_once(ring: KeyRing, provider: ForgetfulProvider) -> None:
    for _ in range(3):
        ring.keys_for(MONTH, create=True)
    assert provider.unwrapped == 1
    ring.evict()
    ring.keys_for(MONTH)
    assert provider.unwrapped == 2


def test_nothing_stored_shows_a_key(ring: KeyRing, provider: ForgetfulProvider, blobs: MemoryBlobs) -> None:
    keys = ring.keys_for(MONTH, create=True)
    secrets = [keys.token_key, keys.message_key, keys.sealing_key, keys.salt_key]
    stored = b"".join(blobs.objects.values())
    fields = json.loads(blobs.objects[WRAPPED])
    assert fields["key_id"] == KEY
    assert datetime.fromisoformat(fields["created"]) == datetime(2024, 2, 29, 12, tzinfo=UTC)
    for secret in [*(s.reveal() for s in secrets), provider.keys[KEY]]:
        assert secret not in stored
        assert secret.hex().encode() not in stored


@pytest.mark.parametrize(
    ("month", "window"), [(MONTH, -1), (MONTH, 10_000), (Month(9000, 1), 12), (Month(1, 1), 12)]
)
def test_a_month_or_window_beyond_reason_is_refused(month: Month, window: int) -> None:
    with pytest.raises(ValueError, match="0 to 9999"):
        month_key_id(month, window)
    assert window_end(Month(8999, 12), 9999)


# The end of the window


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("window", [0, 1, 6, 12, 24])
@pytest.mark.parametrize("month", [MONTH, Month(2023, 12), Month(2024, 1), Month(2023, 2)])
def test_the_keys_are_refused_from_the_very_instant(
    month: Month, window: int, cached: bool, provider: ForgetfulProvider, blobs: MemoryBlobs
) -> None:
    end = window_end(month, window)
    clock = Clock(end - TICK)
    ring = KeyRing(provider, blobs, clock)
    ring.keys_for(month, window, create=True)
    if not cached:
        ring.evict()
    assert ring.keys_for(month, window)
    clock.now = end
    for create in (False, True):
        with pytest.raises(ExpiredKeyError, match=f"ended at {end.isoformat()}".replace("+", r"\+")):
            ring.keys_for(month, window, create=create)


def test_the_clock_may_be_in_any_time_zone_but_must_be_in_one(
    provider: ForgetfulProvider, blobs: MemoryBlobs
) -> None:
    karachi = timezone(timedelta(hours=5))
    clock = Clock((END - TICK).astimezone(karachi))
    ring = KeyRing(provider, blobs, clock)
    assert ring.keys_for(MONTH, create=True)
    clock.now += TICK
    with pytest.raises(ExpiredKeyError):
        ring.keys_for(MONTH)
    clock.now = datetime(2024, 6, 1)
    with pytest.raises(TypeError, match="time zone"):
        ring.keys_for(MONTH)


def test_an_ended_month_is_not_made(provider: ForgetfulProvider, blobs: MemoryBlobs) -> None:
    with pytest.raises(ExpiredKeyError):
        KeyRing(provider, blobs, Clock(END)).keys_for(MONTH, create=True)
    assert provider.keys == {}
    assert blobs.objects == {}


def test_a_provider_that_answers_after_the_end_answers_too_late(
    provider: ForgetfulProvider, blobs: MemoryBlobs
) -> None:
    clock = Clock(END - TICK)
    KeyRing(provider, blobs, clock).keys_for(MONTH, create=True)
    real = provider.unwrap

    def slowly(key_id: str, wrapped: bytes) -> bytes:
        clock.advance(seconds=2)
        return real(key_id, wrapped)

    provider.unwrap = slowly  # type: ignore[method-assign]
    ring = KeyRing(provider, blobs, clock)
    with pytest.raises(ExpiredKeyError):
        ring.keys_for(MONTH)
    clock.now = END - TICK  # set back: the late answer was not kept
    before = provider.unwrapped
    with pytest.raises(ExpiredKeyError):
        ring.keys_for(MONTH)
    assert provider.unwrapped == before + 1


def test_one_month_that_ends_takes_no_other_with_it(ring: KeyRing, clock: Clock) -> None:
    clock.now = END - TICK
    later = ring.keys_for(Month(2024, 3), create=True)
    ring.keys_for(MONTH, create=True)
    clock.now = END
    with pytest.raises(ExpiredKeyError):
        ring.keys_for(MONTH)
    assert ring.keys_for(Month(2024, 3)) is later


# Destruction


def test_destroyed_keys_are_gone_for_every_worker(
    ring: KeyRing, provider: ForgetfulProvider, blobs: MemoryBlobs, clock: Clock
) -> None:
    ring.keys_for(MONTH, create=True)
    clock.now = END
    ring.destroy(MONTH)
    assert provider.keys == {}
    assert list(blobs.objects) == [MARK]
    clock.now = END - TICK  # even by a clock that is set back
    for other in (ring, KeyRing(provider, blobs, clock)):
        for create in (False, True):
            with pytest.raises(ExpiredKeyError, match="were destroyed"):
                other.keys_for(MONTH, create=create)
    assert provider.keys == {}


def test_a_month_is_not_destroyed_before_its_end_by_mistake(ring: KeyRing, clock: Clock) -> None:
    keys = ring.keys_for(MONTH, create=True)
    clock.now = END - TICK
    with pytest.raises(LetheError, match=r"needed until 2025-03-01T00:00:00\+00:00"):
        ring.destroy(MONTH)
    assert ring.keys_for(MONTH) is keys
    ring.destroy(MONTH, early=True)
    with pytest.raises(ExpiredKeyError):
        ring.keys_for(MONTH)


def test_destroying_again_or_nothing_succeeds(ring: KeyRing, clock: Clock, blobs: MemoryBlobs) -> None:
    clock.now = END
    ring.destroy(MONTH)
    mark = blobs.objects[MARK]
    clock.advance(hours=1)
    ring.destroy(MONTH)
    assert blobs.objects == {MARK: mark}


def test_a_damaged_wrapped_key_does_not_stop_destruction(
    ring: KeyRing, provider: ForgetfulProvider, blobs: MemoryBlobs, clock: Clock
) -> None:
    ring.keys_for(MONTH, create=True)
    blobs.objects[WRAPPED] = b"\xff{"
    clock.now = END
    ring.destroy(MONTH)
    assert (provider.keys, list(blobs.objects)) == ({}, [MARK])


def test_a_provider_that_fails_is_tried_again_and_the_keys_stay_shut(
    provider: ForgetfulProvider, blobs: MemoryBlobs, clock: Clock, tmp_path: Path
) -> None:
    ring = KeyRing(provider, blobs, clock, endings=KeptNames(tmp_path, "endings"))
    ring.keys_for(MONTH, create=True)
    real = provider.destroy

    def fail(key_id: str) -> None:
        raise TransientError(f"the key service did not answer about {key_id}")

    provider.destroy = fail  # type: ignore[method-assign]
    with pytest.raises(TransientError):
        ring.destroy(MONTH, early=True)
    with pytest.raises(ExpiredKeyError):
        ring.keys_for(MONTH)
    assert [info.state for info in ring.list(clock())] == ["ended"]
    provider.destroy = real  # type: ignore[method-assign]
    ring.destroy(MONTH, early=True)
    assert [info.state for info in ring.list(clock())] == ["destroyed"]


# A mark that nobody here laid down


def test_a_mark_of_a_live_month_whose_key_opens_is_not_believed_but_named(
    ring: KeyRing, provider: ForgetfulProvider, blobs: MemoryBlobs, clock: Clock
) -> None:
    keys = ring.keys_for(MONTH, create=True)
    blobs.objects[MARK] = b"{}"
    for other in (ring, KeyRing(provider, blobs, clock)):
        for create in (False, True):
            assert same(keys, other.keys_for(MONTH, create=create))
        (info,) = other.list(clock())
        assert (info.state, info.marked, info.created) == ("live", True, clock())
        assert [i.key_id for i in other.live(clock())] == [KEY]
        other.probe(MONTH)
    clock.now = END
    for create in (False, True):
        with pytest.raises(ExpiredKeyError):
            ring.keys_for(MONTH, create=create)
    with pytest.raises(
        ExpiredKeyError, match="were destroyed"
    ):  # it may be half destroyed: nothing is preserved
        ring.for_preserving(MONTH)
    assert [(i.state, i.marked) for i in ring.list(END)] == [("ended", False)]


def test_a_mark_brings_no_month_into_being_and_none_back(
    ring: KeyRing, provider: ForgetfulProvider, blobs: MemoryBlobs, clock: Clock
) -> None:
    blobs.objects[MARK] = b"{}"
    with pytest.raises(ExpiredKeyError):
        ring.keys_for(MONTH, create=True)
    assert provider.keys == {}
    del blobs.objects[MARK]
    ring.keys_for(MONTH, create=True)
    backup = dict(blobs.objects)
    ring.destroy(MONTH, early=True)
    blobs.objects.update(backup)  # what was wrapped is brought back, the key of it is gone
    for create in (False, True):
        with pytest.raises(ExpiredKeyError, match="were destroyed"):
            KeyRing(provider, blobs, clock).keys_for(MONTH, create=create)
    assert provider.keys == {}
    assert [(i.state, i.marked) for i in ring.list(clock())] == [("ended", False)]


@pytest.mark.parametrize("persisted", [False, True])
def test_a_destruction_that_was_begun_here_is_believed_wherever_it_died_and_whatever_the_clock(
    tmp_path: Path, persisted: bool
) -> None:
    for at in range(calls_of(destroy, make)):
        world, endings = World(), KeptNames(tmp_path / str(at), "endings")
        make(world.ring())
        dying = Mortal(at, persisted)
        with pytest.raises(Crash):
            KeyRing(
                dying.wrapping(world.provider), dying.wrapping(world.blobs), Clock(END), endings=endings
            ).destroy(MONTH)
        behind = KeyRing(world.provider, world.blobs, Clock(END - TICK), endings=endings)
        if MARK in world.blobs.objects:
            with pytest.raises(ExpiredKeyError):
                make(behind)
            assert [info.state for info in behind.list(END - TICK)] != ["live"]


def test_an_outage_leaves_a_marked_month_in_doubt(
    ring: KeyRing, provider: ForgetfulProvider, blobs: MemoryBlobs, clock: Clock
) -> None:
    ring.keys_for(MONTH, create=True)
    blobs.objects[MARK] = b"{}"

    def away(key_id: str, _: bytes) -> bytes:
        raise TransientError(f"the key service did not answer about {key_id}")

    provider.unwrap = away  # type: ignore[method-assign]
    fresh = KeyRing(provider, blobs, clock)
    assert [info.state for info in fresh.live(clock())] == ["live"]
    with pytest.raises(TransientError):
        fresh.keys_for(MONTH)


def test_a_warehouse_restored_from_a_backup_stays_unreadable(tmp_path: Path, clock: Clock) -> None:
    provider = LocalProvider.initialise(tmp_path / "keys", clock)
    blobs, backup = MemoryBlobs(), MemoryBlobs()
    ring = KeyRing(provider, blobs, clock)
    ring.keys_for(MONTH, create=True)
    backup.objects.update(blobs.objects)
    ring.destroy(MONTH, early=True)
    for create in (False, True):
        with pytest.raises(ExpiredKeyError, match="was destroyed"):
            KeyRing(provider, backup, clock).keys_for(MONTH, create=create)
        with pytest.raises(ExpiredKeyError if create else UnknownKeyError):
            KeyRing(provider, MemoryBlobs(), clock).keys_for(MONTH, create=create)


class World:
    """A provider and a store, which outlive the workers."""

    def __init__(self) -> None:
        self.provider, self.blobs, self.clock = ForgetfulProvider(), MemoryBlobs(), Clock(END - TICK)

    def ring(self, through: Mortal | None = None) -> KeyRing:
        if through is None:
            return KeyRing(self.provider, self.blobs, self.clock)
        return KeyRing(through.wrapping(self.provider), through.wrapping(self.blobs), self.clock)

    @property
    def left(self) -> tuple[list[str], list[str]]:
        return list(self.provider.keys), list(self.blobs.objects)


def make(ring: KeyRing) -> MonthKeys:
    return ring.keys_for(MONTH, create=True)


def destroy(ring: KeyRing) -> None:
    ring.destroy(MONTH, early=True)


def nothing(_: KeyRing) -> None:
    pass


def calls_of(action: Callable[[KeyRing], object], prepare: Callable[[KeyRing], object] = nothing) -> int:
    world, counting = World(), Mortal(None, persisted=True)
    prepare(world.ring())
    action(world.ring(counting))
    return counting.calls


# Crashes: the process dies before or after each call to the provider and the store


@pytest.mark.parametrize("persisted", [False, True])
def test_a_crash_while_a_month_is_made_heals(persisted: bool) -> None:
    count = calls_of(make)
    assert count >= 6
    for at in range(count):
        world = World()
        with pytest.raises(Crash):
            make(world.ring(Mortal(at, persisted)))
        keys = make(world.ring())
        assert same(keys, world.ring().keys_for(MONTH))
        assert world.left == ([KEY], [WRAPPED])


@pytest.mark.parametrize("persisted", [False, True])
def test_a_crash_during_destruction_is_finished_by_the_next_sweep(persisted: bool) -> None:
    count = calls_of(destroy, make)
    assert count >= 4
    for at in range(count):
        world = World()
        make(world.ring())
        with pytest.raises(Crash):
            destroy(world.ring(Mortal(at, persisted)))
        world.clock.now = END
        sweeper = world.ring()
        for info in sweeper.list(END):
            if info.state == "ended":
                sweeper.destroy(info.month, info.window_months)
        assert [info.state for info in sweeper.list(END)] == ["destroyed"]
        assert world.left == ([], [MARK])


# Races: another worker does all of its work before each call to the provider and the store


def test_two_workers_that_make_a_month_end_with_the_same_keys_in_every_order() -> None:
    for at in range(calls_of(make)):
        world, found = World(), []
        paused = Interrupted(at, lambda w=world, f=found: f.append(make(w.ring())))
        found.append(make(world.ring(paused)))
        assert len(found) == 2
        assert all(same(keys, world.ring().keys_for(MONTH)) for keys in found)


@pytest.mark.parametrize("prepare", [nothing, make])
def test_a_worker_that_opens_a_month_while_it_is_destroyed(prepare: Callable[[KeyRing], object]) -> None:
    for at in range(calls_of(make, prepare)):
        world = World()
        prepare(world.ring())
        with pytest.raises(ExpiredKeyError):
            make(world.ring(Interrupted(at, partial(destroy, world.ring()))))
        assert world.left == ([], [MARK])


def test_a_worker_that_destroys_a_month_while_it_is_made() -> None:
    for at in range(calls_of(destroy)):
        world = World()
        paused = Interrupted(at, lambda w=world: suppressing(ExpiredKeyError, make, w.ring()))
        destroy(world.ring(paused))
        assert world.left == ([], [MARK])


def suppressing(error: type[Exception], action: Callable[[KeyRing], object], ring: KeyRing) -> None:
    with suppress(error):
        action(ring)


# What is lost or damaged


def test_a_lost_key_encryption_key_is_never_replaced(
    provider: ForgetfulProvider, blobs: MemoryBlobs, clock: Clock
) -> None:
    KeyRing(provider, blobs, clock).keys_for(MONTH, create=True)
    provider.keys.clear()
    with pytest.raises(ConfigurationError):
        KeyRing(provider, blobs, clock).keys_for(MONTH, create=True)
    assert provider.keys == {}


def test_a_key_directory_of_another_warehouse_is_noticed(
    provider: ForgetfulProvider, blobs: MemoryBlobs, clock: Clock
) -> None:
    KeyRing(provider, blobs, clock).keys_for(MONTH, create=True)
    provider.keys[KEY] = bytes(32)
    with pytest.raises(IntegrityError):
        KeyRing(provider, blobs, clock).keys_for(MONTH)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-10],
        lambda data: b"[" * 50_000,
        lambda data: b" " * 70_000 + data,
        lambda data: data.replace(b"2024-02.w12", b"2024-03.w12"),
        lambda data: data.replace(b'"version": 1', b'"version": 2'),
        lambda data: data.replace(b'"wrapped"', b'"unwrapped"'),
        lambda data: data.replace(b'"wrapped": "', b'"wrapped": "*'),
        lambda data: b"[1]",
        lambda data: b"\xff",
    ],
)
def test_a_damaged_wrapped_key_is_an_error_that_says_what_to_do(
    provider: ForgetfulProvider, blobs: MemoryBlobs, clock: Clock, damage: Callable[[bytes], bytes]
) -> None:
    KeyRing(provider, blobs, clock).keys_for(MONTH, create=True)
    blobs.objects[WRAPPED] = damage(blobs.objects[WRAPPED])
    ring = KeyRing(provider, blobs, clock)
    for create in (False, True):
        with pytest.raises(IntegrityError, match=r"restore _keys/2024-02\.w12\.json"):
            ring.keys_for(MONTH, create=create)
    assert len(ring.list(clock())) == 1


def test_a_store_that_loses_what_it_took_is_an_error(
    provider: ForgetfulProvider, blobs: MemoryBlobs, clock: Clock
) -> None:
    blobs.create = lambda path, data: True  # type: ignore[method-assign]
    with pytest.raises(TransientError, match="cannot be read yet"):
        KeyRing(provider, blobs, clock).keys_for(MONTH, create=True)


# The list


def test_the_list_tells_what_became_of_each_month(
    ring: KeyRing, provider: ForgetfulProvider, blobs: MemoryBlobs, clock: Clock
) -> None:
    made = clock()
    for month, window in [(Month(2024, 2), 12), (Month(2024, 1), 6), (Month(2024, 1), 12)]:
        ring.keys_for(month, window, create=True)
    provider.create("2023-12.w12")  # a crash before the secret was stored
    for junk in ("some-other-key", "9999-12.w9999", "0000-01.w0", "2024-13.w12", "2024-01.w012"):
        provider.create(junk)
        blobs.create(f"_keys/{junk}.json", b"")
    blobs.create("_keys/README.txt", b"")
    ring.named("hold.7", create=True)
    clock.now = datetime(2025, 2, 1, tzinfo=UTC)
    ring.destroy(Month(2024, 1), 12)
    found = [
        (str(i.month), i.window_months, i.key_id, i.state, i.created, i.ends) for i in ring.list(clock())
    ]
    assert found == [
        ("2023-12", 12, "2023-12.w12", "ended", None, datetime(2025, 1, 1, tzinfo=UTC)),
        ("2024-01", 6, "2024-01.w6", "ended", made, datetime(2024, 8, 1, tzinfo=UTC)),
        ("2024-01", 12, "2024-01.w12", "destroyed", made, datetime(2025, 2, 1, tzinfo=UTC)),
        ("2024-02", 12, "2024-02.w12", "live", made, END),
    ]
    assert [i.state for i in ring.list(END - TICK)][-1] == "live"
    assert [i.state for i in ring.list(END)][-1] == "ended"


# Named keys


def test_named_keys_have_no_end_but_destruction(
    ring: KeyRing, provider: ForgetfulProvider, blobs: MemoryBlobs, clock: Clock
) -> None:
    with pytest.raises(UnknownKeyError):
        ring.named("hold.7")
    keys = ring.named("hold.7", create=True)
    clock.advance(days=365 * 20)
    assert same(keys, ring.named("hold.7"))
    other_process = KeyRing(provider, blobs, clock)
    assert same(keys, other_process.named("hold.7"))
    ring.destroy_named("hold.7")
    for one in (ring, other_process):
        for create in (False, True):
            with pytest.raises(ExpiredKeyError):
                one.named("hold.7", create)


@pytest.mark.parametrize("name", ["2024-02.w12", "", "a/b", "a.destroyed", "../a"])
def test_a_name_is_no_month_and_no_path(ring: KeyRing, name: str) -> None:
    for call in (ring.named, ring.destroy_named):
        with pytest.raises(ValueError, match="key"):
            call(name)


# Threads of one process


def test_destruction_waits_for_an_opening_under_way_and_nothing_stays_cached(
    provider: ForgetfulProvider, blobs: MemoryBlobs, clock: Clock
) -> None:
    KeyRing(provider, blobs, clock).keys_for(MONTH, create=True)
    ring = KeyRing(provider, blobs, clock)
    inside, go_on = threading.Event(), threading.Event()
    real = provider.unwrap

    def slowly(key_id: str, wrapped: bytes) -> bytes:
        secret = real(key_id, wrapped)
        inside.set()
        assert go_on.wait(60)
        return secret

    provider.unwrap = slowly  # type: ignore[method-assign]
    opening = threading.Thread(target=lambda: ring.keys_for(MONTH))
    opening.start()
    assert inside.wait(60)
    destroying = threading.Thread(target=lambda: ring.destroy(MONTH, early=True))
    destroying.start()
    go_on.set()
    opening.join()
    destroying.join()
    with pytest.raises(ExpiredKeyError):
        ring.keys_for(MONTH)


def test_it_works_on_disk(tmp_path: Path, clock: Clock) -> None:
    def fresh() -> KeyRing:
        return KeyRing(LocalProvider(tmp_path / "keys", clock), LocalBlobs(tmp_path / "warehouse"), clock)

    LocalProvider.initialise(tmp_path / "keys")
    keys = fresh().keys_for(MONTH, create=True)
    assert same(keys, fresh().keys_for(MONTH))
    clock.now = END
    assert [info.state for info in fresh().list(END)] == ["ended"]
    fresh().destroy(MONTH)
    assert [info.state for info in fresh().list(END)] == ["destroyed"]
    left = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert left == [f"keys/{KEY}.destroyed", f"warehouse/{MARK}"]


def test_a_month_is_begun_before_anybody_writes_into_it(
    provider: ForgetfulProvider, blobs: MemoryBlobs, clock: Clock
) -> None:
    began: list[tuple[Month, int]] = []
    failing = [True]

    def begin(ring: KeyRing, month: Month, window_months: int) -> None:
        assert ring.keys_for(month, window_months), "the keys are there already"
        if failing.pop() if failing else False:
            raise TransientError("the store is away")
        began.append((month, window_months))

    ring = KeyRing(provider, blobs, clock, begin)
    with pytest.raises(TransientError):
        ring.keys_for(MONTH, create=True)
    assert began == []
    ring.keys_for(MONTH)
    assert began == [], "whoever only reads begins nothing"
    for _ in range(3):
        ring.keys_for(MONTH, create=True)
    assert began == [(MONTH, 12)]
    ring.evict()
    ring.keys_for(MONTH, 6, create=True)
    assert began == [(MONTH, 12), (MONTH, 6)]
