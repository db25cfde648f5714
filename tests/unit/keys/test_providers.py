"""What every key provider does: one suite for the directory, SoftHSM2, OpenBao, and the stubs of cloud services."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Barrier
from typing import Any

import pytest
from keys_fakes import Clock, Crash, MemoryBlobs, Mortal
from provider_rigs import RIGS, Rig, utc_now

from lethe.keys.providers.interface import KeyProvider
from lethe.keys.ring import KeyRing
from lethe.schemas.errors import (
    ConfigurationError,
    ExpiredKeyError,
    IntegrityError,
    LetheError,
    TransientError,
)
from lethe.schemas.retention.calendar import Month, window_end

SECRET = bytes(range(32))
NUMBERS = count(1)


@pytest.fixture(scope="module", params=RIGS)
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = RIGS[request.param](tmp_path_factory.mktemp(request.param))
    yield rig
    rig.close()


@pytest.fixture
def provider(rig: Rig) -> KeyProvider:
    return rig.provider()


@pytest.fixture
def key() -> str:
    return fresh()


def fresh() -> str:
    """A key id that no other test has used."""
    return f"2025-01.w{next(NUMBERS)}"


def gone(provider: KeyProvider, key: str, wrapped: bytes) -> bool:
    """Whether a key is destroyed for good, asked in every way there is."""
    with pytest.raises((ExpiredKeyError, ConfigurationError)):
        provider.unwrap(key, wrapped)
    at = provider.destroyed_for_good_at(key)
    return key not in provider.list() and at is not None


# Use


def test_what_is_wrapped_unwraps_in_another_process_too(rig: Rig, provider: KeyProvider, key: str) -> None:
    provider.create(key)
    one, other = provider.wrap(key, SECRET), provider.wrap(key, SECRET)
    assert one != other
    assert SECRET not in one
    assert [rig.provider().unwrap(key, w) for w in (one, other)] == [SECRET, SECRET]
    assert provider.destroyed_for_good_at(key) is None
    assert key in provider.list()
    assert provider.describe()


def test_making_a_key_again_leaves_it(rig: Rig, provider: KeyProvider, key: str) -> None:
    provider.create(key)
    wrapped = provider.wrap(key, SECRET)
    provider.create(key)
    rig.provider().create(key)
    assert provider.unwrap(key, wrapped) == SECRET
    assert provider.list().count(key) == 1


def test_a_key_of_another_month_opens_nothing(provider: KeyProvider, key: str) -> None:
    other = fresh()
    provider.create(key)
    provider.create(other)
    wrapped = provider.wrap(key, SECRET)
    with pytest.raises(IntegrityError, match=other):
        provider.unwrap(other, wrapped)


@pytest.mark.parametrize("damage", ["first", "middle", "last", "cut", "empty", "longer", "long"])
def test_what_was_changed_is_refused(provider: KeyProvider, key: str, damage: str) -> None:
    provider.create(key)
    wrapped = provider.wrap(key, SECRET)
    places = {"first": 0, "middle": len(wrapped) // 2, "last": len(wrapped) - 1}
    if damage in places:
        at = places[damage]
        changed = wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :]
    else:
        changed = {"cut": wrapped[:-1], "empty": b"", "longer": wrapped + b"A", "long": wrapped * 1000}[
            damage
        ]
    with pytest.raises(IntegrityError) as error:
        provider.unwrap(key, changed)
    assert key in str(error.value)
    assert "\n" not in str(error.value)
    assert provider.unwrap(key, wrapped) == SECRET


def test_a_key_that_was_never_made_is_an_error_that_says_what_to_do(provider: KeyProvider, key: str) -> None:
    for call in (lambda: provider.wrap(key, SECRET), lambda: provider.unwrap(key, b"\x01" * 100)):
        with pytest.raises(ConfigurationError, match="check that this is"):
            call()
    assert key not in provider.list()
    provider.destroy(key)  # nothing to destroy is success


@pytest.mark.parametrize("key_id", ["", "../x", "a/b", ".a", "a\n", "a b", "x" * 128, "a.destroyed"])
def test_what_is_no_key_id_is_refused(provider: KeyProvider, key_id: str) -> None:
    for call in (provider.create, provider.destroy, provider.destroyed_for_good_at):
        with pytest.raises(ValueError, match="key id"):
            call(key_id)


def test_racing_callers_end_with_keys_that_open_what_each_of_them_wrapped(rig: Rig) -> None:
    for _ in range(3):
        key, barrier = fresh(), Barrier(4)

        def make(key: str = key, barrier: Barrier = barrier) -> bytes:
            mine = rig.provider()
            barrier.wait(120)
            mine.create(key)
            return mine.wrap(key, SECRET)

        with ThreadPoolExecutor(4) as pool:
            wrapped = [future.result() for future in [pool.submit(make) for _ in range(4)]]
        late = rig.provider()
        late.create(key)
        assert [late.unwrap(key, w) for w in wrapped] == [SECRET] * 4
        late.destroy(key)
        rig.elapse()
        assert all(gone(late, key, w) for w in wrapped)


# Destruction


def test_a_destroyed_key_opens_nothing_for_anybody(rig: Rig, provider: KeyProvider, key: str) -> None:
    other = fresh()
    provider.create(key)
    provider.create(other)
    wrapped, kept = provider.wrap(key, SECRET), provider.wrap(other, SECRET)
    before = datetime.now(UTC)
    provider.destroy(key)
    for one in (provider, rig.provider()):
        with pytest.raises((ExpiredKeyError, ConfigurationError)):
            one.unwrap(key, wrapped)
    rig.elapse()
    at = provider.destroyed_for_good_at(key)
    assert at is not None
    assert at >= before
    assert gone(rig.provider(), key, wrapped)
    provider.destroy(key)
    assert provider.unwrap(other, kept) == SECRET


def test_as_long_as_a_key_could_come_back_it_is_listed_and_not_called_gone(
    provider: KeyProvider, key: str
) -> None:
    provider.create(key)
    provider.destroy(key)
    assert (key in provider.list()) == (provider.destroyed_for_good_at(key) is None)


def test_a_key_made_again_is_another_key(rig: Rig, provider: KeyProvider, key: str) -> None:
    provider.create(key)
    wrapped = provider.wrap(key, SECRET)
    provider.destroy(key)
    rig.elapse()
    with suppress(ExpiredKeyError, ConfigurationError):
        provider.create(key)
    with pytest.raises((IntegrityError, ExpiredKeyError, ConfigurationError)):
        provider.unwrap(key, wrapped)
    provider.destroy(key)


def test_a_backup_of_the_provider_brings_no_ended_month_back(rig: Rig) -> None:
    """Restored behind Lethe's back, the key may be there again: the ring refuses it, shows it, and destroys it."""
    month, window = Month(2025, 1), next(NUMBERS)
    clock, blobs = Clock(datetime(2025, 1, 31, tzinfo=UTC)), MemoryBlobs()
    KeyRing(rig.provider(), blobs, clock).keys_for(month, window, create=True)
    warehouse = dict(blobs.objects)
    rig.backup()
    clock.now = window_end(month, window)
    KeyRing(rig.provider(), blobs, clock).destroy(month, window)
    rig.elapse()
    states = [
        i.state for i in KeyRing(rig.provider(), blobs, clock).list(clock()) if i.window_months == window
    ]
    assert states == ["destroyed"]
    rig.restore()
    for backup in (blobs, MemoryBlobs(warehouse)):  # that of the provider alone; that of the warehouse, too
        ring = KeyRing(rig.provider(), backup, clock)
        with pytest.raises(ExpiredKeyError):
            ring.keys_for(month, window, create=True)
        (info,) = [i for i in ring.list(clock()) if i.window_months == window]
        assert info.state == ("ended" if backup is not blobs or not rig.never_comes_back else "destroyed")
    ring.destroy(month, window)
    rig.elapse()
    with pytest.raises(ExpiredKeyError):
        ring.probe(month, window)
    assert ring.destroyed_for_good_at(month, window) is not None


# Trouble


def test_an_outage_is_something_that_passes(rig: Rig, provider: KeyProvider, key: str) -> None:
    provider.create(key)
    wrapped = provider.wrap(key, SECRET)
    with rig.outage():
        for one in (provider, rig.provider() if rig.name != "local" else provider):
            calls: list[Callable[[], Any]] = [lambda o=one: o.unwrap(key, wrapped), one.list]  # type: ignore[misc]
            for call in calls:
                started = time.monotonic()
                with pytest.raises(TransientError) as error:
                    call()
                assert time.monotonic() - started < 60
                assert "\n" not in str(error.value)
        with pytest.raises(TransientError):
            provider.destroy(key)
    assert provider.unwrap(key, wrapped) == SECRET
    provider.destroy(key)


def test_an_outage_of_half_an_hour_stops_nobody_who_has_the_month_open(rig: Rig) -> None:
    month, window = Month(2025, 1), next(NUMBERS)
    clock, blobs = Clock(datetime(2025, 1, 31, tzinfo=UTC)), MemoryBlobs()
    ring = KeyRing(rig.provider(), blobs, clock)
    keys = ring.keys_for(month, window, create=True)
    clock.advance(minutes=19)
    with rig.outage():
        for _ in range(6):
            clock.advance(minutes=5)
            assert ring.keys_for(month, window, create=True) is keys
        clock.advance(minutes=11)
        with pytest.raises(TransientError):
            ring.keys_for(month, window)
    assert ring.keys_for(month, window).token_key == keys.token_key


def test_half_a_second_for_each_step_changes_nothing(rig: Rig, key: str) -> None:
    waits = [0.5] * 8  # a provider that touches the disk twenty times need not make the test so slow

    def slowly(step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        time.sleep(waits.pop() if waits else 0.01)
        return step(*args, **kwargs)

    with rig.stepping(slowly):
        provider = rig.provider()
        provider.create(key)
        wrapped = provider.wrap(key, SECRET)
        assert provider.unwrap(key, wrapped) == SECRET
        provider.destroy(key)
    rig.elapse()
    assert gone(rig.provider(), key, wrapped)


def steps_of(rig: Rig, action: Callable[[KeyProvider], object]) -> int:
    counting = Mortal(None, persisted=True)
    with rig.stepping(counting.call):
        action(rig.provider())
    return counting.calls


@pytest.mark.parametrize("persisted", [False, True])
def test_killed_at_each_step_of_making_a_key(rig: Rig, persisted: bool) -> None:
    key = fresh()
    steps = steps_of(rig, lambda p: p.create(key))
    assert steps
    for at in range(steps):
        key = fresh()
        with rig.stepping(Mortal(at, persisted).call), pytest.raises(Crash):
            rig.provider().create(key)
        after = rig.provider()
        after.create(key)
        wrapped = after.wrap(key, SECRET)
        assert rig.provider().unwrap(key, wrapped) == SECRET
        assert after.list().count(key) == 1
        after.destroy(key)
        rig.elapse()
        assert gone(after, key, wrapped)


@pytest.mark.parametrize("persisted", [False, True])
def test_killed_at_each_step_of_destroying_a_key(rig: Rig, persisted: bool) -> None:
    key = fresh()
    rig.provider().create(key)
    steps = steps_of(rig, lambda p: p.destroy(key))
    assert steps
    for at in range(steps):
        key = fresh()
        before = rig.provider()
        before.create(key)
        wrapped = before.wrap(key, SECRET)
        with rig.stepping(Mortal(at, persisted).call), pytest.raises(Crash):
            rig.provider().destroy(key)
        after = rig.provider()
        after.destroy(key)
        rig.elapse()
        assert gone(after, key, wrapped)


def test_no_error_shows_key_material(rig: Rig, provider: KeyProvider, key: str) -> None:
    provider.create(key)
    secret = os.urandom(32)
    wrapped = provider.wrap(key, secret)
    said = []
    for call in (lambda: provider.unwrap(fresh(), wrapped), lambda: provider.unwrap(key, wrapped[:-2])):
        with pytest.raises(LetheError) as error:
            call()
        said.append(str(error.value))
    for text in (*said, provider.describe(), repr(provider)):
        assert secret.hex() not in text
        assert wrapped.hex()[8:40] not in text


def test_the_present_instant_is_what_the_clock_says(rig: Rig, provider: KeyProvider, key: str) -> None:
    provider.create(key)
    provider.destroy(key)
    rig.elapse()
    at = provider.destroyed_for_good_at(key)
    assert at is not None
    assert at.tzinfo is not None
    assert at > utc_now() - timedelta(minutes=5)
