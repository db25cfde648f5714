"""The ring: opens the keys of a month while its window is open, and never after."""

from __future__ import annotations

import builtins
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from lethe.keys.blobs import Blobs
from lethe.keys.monthkeys import MonthKeys, new_secret
from lethe.keys.providers.interface import KeyProvider, checked_key_id
from lethe.keys.secret import Secret
from lethe.keys.wrapped import destroyed_json, read_created, read_wrapped, wrapped_json
from lethe.schemas.errors import ExpiredKeyError, LetheError, TransientError
from lethe.schemas.retention.calendar import WINDOW_MONTHS, Month, window_end

__all__ = ["KeyInfo", "KeyRing", "MonthKeys", "UnknownKeyError", "month_key_id"]

_FOLDER = "_keys/"
_WRAPPED = ".json"
_DESTROYED = ".destroyed.json"
_MONTH_KEY_ID = re.compile(r"([1-8][0-9]{3}-(?:0[1-9]|1[0-2]))\.w(0|[1-9][0-9]{0,3})")


class UnknownKeyError(LetheError):
    """There are no keys of that id, and none were asked to be made."""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What is known about the keys of one month, without opening them.

    `live`: the window is open. `ended`: it is over, or destruction was begun; the keys open no more, and
    `destroy` has work left. `destroyed`: nothing is left. `created` is None when only a key-encryption key is
    there (a crash in the middle of making the month) or what was written about it is damaged.
    """

    month: Month
    window_months: int
    key_id: str
    state: Literal["live", "ended", "destroyed"]
    created: datetime | None
    ends: datetime


def month_key_id(month: Month, window_months: int = WINDOW_MONTHS) -> str:
    """`YYYY-MM.wN`: months kept for different periods have different keys.

    `ValueError` for years before 1000 or after 8999 and windows of less than 0 or more than 9999 months, so
    that every window has an end that a date can tell.
    """
    key_id = f"{month}.w{window_months}"
    if not _MONTH_KEY_ID.fullmatch(key_id):
        raise ValueError("a month is of the years 1000 to 8999, its window lasts 0 to 9999 months")
    return key_id


class KeyRing:
    """The keys of the months, made when first asked for, kept in memory, refused from the window's end on.

    Per key id there are: the key-encryption key in the provider; `_keys/ID.json`, one random secret wrapped
    by it; and, once destruction was decided, `_keys/ID.destroyed.json`, which is never removed.

    `clock` gives the present instant with a time zone and is asked on every call: an ended month is refused
    at the very instant of `window_end`, cached or not, swept or not. Safe to use from several threads. What
    was handed out stays usable, and other processes keep what they cached of a month that is destroyed before
    its end, until then or until they call `evict`: ask for keys once per batch.

    `begin` is called with the ring, a month and its window before this ring first hands out that month's keys to
    somebody who writes (`create`), when the keys are there already: what has to stand under every month's keys before
    a record does is put there. What it raises is raised to whoever asked, and it is called again next time.
    """

    def __init__(
        self,
        provider: KeyProvider,
        blobs: Blobs,
        clock: Callable[[], datetime],
        begin: Callable[[KeyRing, Month, int], None] | None = None,
    ) -> None:
        self._provider = provider
        self._blobs = blobs
        self._clock = clock
        self._begin = begin
        self._begun: set[str] = set()
        self._beginning = threading.Lock()  # nobody writes into a month while another thread begins it
        self._cache: dict[str, tuple[datetime, MonthKeys]] = {}
        self._lock = (
            threading.Lock()
        )  # held while opening and destroying, so that neither caches for the other

    def keys_for(
        self, month: Month, window_months: int = WINDOW_MONTHS, *, create: bool = False
    ) -> MonthKeys:
        """The keys of a month; with `create` they are made if there are none.

        `ExpiredKeyError` when the window has ended or the keys were destroyed, `UnknownKeyError` when there
        are none; `ConfigurationError`, `IntegrityError`, `TransientError` as the provider and the store say.
        """
        key_id = month_key_id(month, window_months)
        ends = window_end(month, window_months)
        self._refuse_ended(key_id, ends)
        cached = self._cache.get(key_id)
        if cached is None:
            with self._lock:
                cached = self._cache.get(key_id) or (ends, self._open(key_id, create))
                self._cache[key_id] = cached
            # A provider may be slow, and the window may have ended while it answered.
            self._refuse_ended(key_id, ends)
        if create and self._begin is not None and key_id not in self._begun:
            with self._beginning:
                if key_id not in self._begun:
                    self._begin(self, month, window_months)
                    self._begun.add(key_id)
        return cached[1]

    def for_preserving(self, month: Month, window_months: int = WINDOW_MONTHS) -> MonthKeys:
        """The keys of a month whose window may have ended, for what a hold keeps from being forgotten.

        The one way in after the end, until the sweep has destroyed the keys; only `lethe.tiers.holds.holds` uses it,
        and
        nothing read through it is shown to anybody. Never cached. Raises as `named` does.
        """
        with self._lock:
            return self._open(month_key_id(month, window_months), create=False)

    def named(self, name: str, create: bool = False) -> MonthKeys:
        """The keys of something that has no calendar end, such as a hold: `hold.ID`.

        Never cached: what one process destroys, every other refuses from then on. Raises as `keys_for` does,
        and `ValueError` for a name that is no key id or that is a month's.
        """
        with self._lock:
            return self._open(_checked_name(name), create)

    def list(self, now: datetime) -> builtins.list[KeyInfo]:
        """What is known of every month that ever had keys, oldest first; the state is that of `now`."""
        self._forget_ended(now)
        paths = set(self._blobs.list(_FOLDER))
        held = set(self._provider.list())
        ids = held | {
            p.removeprefix(_FOLDER).removesuffix(_WRAPPED).removesuffix(".destroyed") for p in paths
        }
        months = [(match, key_id) for key_id in ids if (match := _MONTH_KEY_ID.fullmatch(key_id))]
        infos = [
            self._info(Month.parse(match[1]), int(match[2]), key_id, key_id in held, paths, now)
            for match, key_id in months
        ]
        return sorted(infos, key=lambda info: (info.month, info.window_months))

    def destroy(self, month: Month, window_months: int = WINDOW_MONTHS, *, early: bool = False) -> None:
        """Destroy the keys of a month for ever: every copy of what they sealed becomes unreadable.

        Restartable and idempotent; the steps are those of `_destroy`. `LetheError` while the window is open
        by the ring's clock, unless `early` says that this is meant: a wrong date must not destroy a month.
        """
        ends = window_end(month, window_months)
        if not early and self._now() < ends:
            raise LetheError(
                f"the keys {month_key_id(month, window_months)} are needed until {ends.isoformat()}: "
                "they are destroyed before only when asked explicitly"
            )
        self._destroy(month_key_id(month, window_months))

    def destroy_named(self, name: str) -> None:
        """Destroy named keys for ever, as `destroy` does, whenever it is asked."""
        self._destroy(_checked_name(name))

    def evict(self) -> None:
        """Drop every key from memory; they are opened again when asked for."""
        with self._lock:
            self._cache.clear()

    def _open(self, key_id: str, create: bool) -> MonthKeys:
        """Open keys that are there, or make them first.

        1. Refuse what is marked as destroyed.
        2. If there is no wrapped secret, make one (`_make`).
        3. Read it, unwrap it, derive the keys: one way for those just made, those another worker made in a
           race, and those made a year ago. What cannot be opened again is never used.
        """
        self._refuse_destroyed(key_id)
        try:
            if self._blobs.get(_wrapped_path(key_id)) is None:
                if not create:
                    raise UnknownKeyError(f"there are no keys {key_id}: nothing was sealed under them")
                self._make(key_id)
            data = self._blobs.get(_wrapped_path(key_id))
            if data is None:
                raise TransientError(f"the wrapped keys {key_id} were made and cannot be read yet: try again")
            return MonthKeys(key_id, Secret(self._provider.unwrap(key_id, read_wrapped(key_id, data))))
        except LetheError:
            # Whatever failed, if somebody destroyed the keys meanwhile then that is why.
            self._refuse_destroyed(key_id)
            raise

    def _make(self, key_id: str) -> None:
        """Make a secret, unless another worker does so first.

        1. Make the key-encryption key, or find it made. A crash here leaves it without a secret; the next
           caller finds it and goes on.
        2. Wrap a new secret. A crash here leaves nothing.
        3. Store it where no one has stored one. A worker that comes second drops its own.
        4. Look for the mark of destruction again: whoever destroys marks first, so either this sees the mark
           and takes the key away again, or the mark came later and so did the destruction of this very key.
        """
        self._provider.create(key_id)
        wrapped = self._provider.wrap(key_id, new_secret().reveal())
        self._blobs.create(_wrapped_path(key_id), wrapped_json(key_id, self._now(), wrapped))
        if self._blobs.get(_destroyed_path(key_id)) is not None:
            self._provider.destroy(key_id)
            self._blobs.delete(_wrapped_path(key_id))
            self._refuse_destroyed(key_id)

    def _destroy(self, key_id: str) -> None:
        """Destroy keys. Doing all of it again after a crash is safe, whatever the step.

        1. Mark them as destroyed, for ever. From here on no worker opens or makes them.
        2. Destroy the key-encryption key. From here on no one can, backups of the warehouse included. After a
           crash before this the keys show as `ended`, so the next sweep comes back to them.
        3. Remove the wrapped secret, which nothing opens any more.
        4. Drop what is cached here.
        """
        with self._lock:
            try:
                created = read_created(key_id, self._blobs.get(_wrapped_path(key_id)))
                mark = destroyed_json(key_id, created, self._now())
                self._blobs.create(_destroyed_path(key_id), mark)
                self._provider.destroy(key_id)
                self._blobs.delete(_wrapped_path(key_id))
            finally:
                self._cache.pop(key_id, None)

    def _info(
        self, month: Month, window_months: int, key_id: str, held: bool, paths: set[str], now: datetime
    ) -> KeyInfo:
        ends = window_end(month, window_months)
        wrapped, destroyed = _wrapped_path(key_id), _destroyed_path(key_id)
        state: Literal["live", "ended", "destroyed"] = "live" if now < ends else "ended"
        if destroyed in paths:
            state = "ended" if held or wrapped in paths else "destroyed"
        created = read_created(key_id, self._blobs.get(destroyed if destroyed in paths else wrapped))
        return KeyInfo(month, window_months, key_id, state, created, ends)

    def _refuse_ended(self, key_id: str, ends: datetime) -> None:
        now = self._now()
        if now >= ends:
            self._forget_ended(now)
            raise ExpiredKeyError(
                f"the window of the keys {key_id} ended at {ends.isoformat()}: they are not opened any more"
            )

    def _refuse_destroyed(self, key_id: str) -> None:
        if self._blobs.get(_destroyed_path(key_id)) is not None:
            raise ExpiredKeyError(f"the keys {key_id} were destroyed; nothing brings them back")

    def _forget_ended(self, now: datetime) -> None:
        for key_id, (ends, _) in tuple(self._cache.items()):
            if now >= ends:
                self._cache.pop(key_id, None)

    def _now(self) -> datetime:
        now = self._clock()
        if now.tzinfo is None:
            raise TypeError("the clock of a key ring gives instants with a time zone")
        return now


def _wrapped_path(key_id: str) -> str:
    return f"{_FOLDER}{key_id}{_WRAPPED}"


def _destroyed_path(key_id: str) -> str:
    return f"{_FOLDER}{key_id}{_DESTROYED}"


def _checked_name(name: str) -> str:
    if _MONTH_KEY_ID.fullmatch(name):
        raise ValueError("named keys cannot have the id of a month's keys")
    return checked_key_id(name)
