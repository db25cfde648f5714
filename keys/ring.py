"""The ring: opens the keys of a month while its window is open, and never after."""

from __future__ import annotations

import builtins
import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from lethe.keys.blobs import Blobs
from lethe.keys.keeping.keystore import Keystore, Known, base_id, kek_id
from lethe.keys.keeping.loss import Losses, given_up_name
from lethe.keys.keeping.wrapped import Wrapped
from lethe.keys.kept import KeptNames
from lethe.keys.latest import ADVICE, LatestTime
from lethe.keys.memory import forbid_dumps
from lethe.keys.monthkeys import MonthKeys, new_secret
from lethe.keys.providers.choice import Providers
from lethe.keys.providers.interface import KeyProvider, checked_key_id
from lethe.keys.secret import Secret
from lethe.schemas.errors import (
    ClockError,
    ConfigurationError,
    ExpiredKeyError,
    IntegrityError,
    LetheError,
    TransientError,
)
from lethe.schemas.retention.calendar import WINDOW_MONTHS, Month, window_end

__all__ = ["UNREADABLE", "KeyInfo", "KeyRing", "MonthKeys", "UnknownKeyError", "month_key_id"]

log = logging.getLogger("lethe.keys")

_LEASE: Final = timedelta(hours=1)
_RENEWED: Final = timedelta(minutes=20)
_TRIED_AGAIN: Final = timedelta(minutes=1)
_AT_ONCE: Final = 16
"""Wrapped secrets that are read side by side."""
_SKEW = timedelta(hours=1)
"""How far the clocks of machines that share a key directory may be apart before a writer is told that one is wrong."""
_MONTH_KEY_ID = re.compile(r"([1-8][0-9]{3}-(?:0[1-9]|1[0-2]))\.w(0|[1-9][0-9]{0,3})")


UNREADABLE: Final = (ConfigurationError, IntegrityError, TransientError)
"""What opening a live month's keys raises when they are lost or damaged, or their provider is away."""


class UnknownKeyError(LetheError):
    """There are no keys of that id, and none were asked to be made."""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What is known about the keys of one month, without opening them.

    `live`: the window is open. `ended`: it is over, or destruction was begun; the keys open no more, and
    `destroy` has work left. `destroyed`: nothing is left. `created` is None when only a key-encryption key is
    there (a crash in the middle of making the month) or what was written about it is damaged. `given_up`: until when
    records were sealed that nobody can open, because the key was lost and given up (`lethe.keys.keeping.loss`).
    `marked`: the warehouse has a mark that they were destroyed or given up, which is not believed (see `KeyRing`).
    """

    month: Month
    window_months: int
    key_id: str
    state: Literal["live", "ended", "destroyed"]
    created: datetime | None
    ends: datetime
    given_up: datetime | None = None
    marked: bool = False


@dataclass(frozen=True, slots=True)
class _Lease:
    """The keys of a month in memory. Asked for after `renew`, they are opened again; after `until`, not used."""

    ends: datetime
    keys: MonthKeys
    renew: datetime
    until: datetime


def month_key_id(month: Month, window_months: int = WINDOW_MONTHS) -> str:
    """Name the keys of a month, `YYYY-MM.wN`: months kept for different periods have different keys.

    `ValueError` for years before 1000 or after 8999 and windows of less than 0 or more than 9999 months, so
    that every window has an end that a date can tell.
    """
    key_id = f"{month}.w{window_months}"
    if not _MONTH_KEY_ID.fullmatch(key_id):
        raise ValueError("a month is of the years 1000 to 8999, its window lasts 0 to 9999 months")
    return key_id


class KeyRing:
    """Open the keys of the months, make them when first asked for, and refuse them from the window's end on.

    Per key id there are: a key-encryption key in a provider; `_keys/ID.json`, one random secret wrapped
    by it (and later generations of the same secret, see `lethe.keys.keeping.keystore`); and, once destruction was
    decided, `_keys/ID.destroyed.json`, which is never removed.

    These are files of the warehouse: whoever writes there can lay down such a mark, or one that a secret was given up
    (`lethe.keys.keeping.loss`). For a month that is live, one is believed when `endings` has that it was decided with
    these keys, or when the secret opens no more; else the month goes on, and the mark is named (`KeyInfo.marked`). No
    mark keeps a secret: that is what its provider does, and the calendar.

    `clock` gives the present instant with a time zone and is asked on every call: an ended month is refused
    at the very instant of `window_end`, cached or not, swept or not. Safe to use from several threads. What
    was handed out stays usable: ask for keys once per batch.

    Open keys stay in memory for an hour at most and are opened anew after 20 minutes, so that what another process
    destroyed before its end, or a right that was withdrawn, is noticed. If the provider is away then, the keys go on
    until the hour is over: an outage of 40 minutes stops nobody who has his months open.

    `latest` is the latest time that was ever seen with these keys: a clock that is set back opens no month again that
    has ended. Whoever writes by such a clock is told so (`ClockError`), since it would take ended months for open ones.

    `begin` is called with the ring, a month and its window before this ring first hands out that month's keys to
    somebody who writes (`create`), when the keys are there already: what has to stand under every month's keys before
    a record does is put there. What it raises is raised to whoever asked, and it is called again next time.
    """

    def __init__(
        self,
        provider: KeyProvider | Providers,
        blobs: Blobs,
        clock: Callable[[], datetime],
        begin: Callable[[KeyRing, Month, int], None] | None = None,
        latest: LatestTime | None = None,
        restrictions: KeptNames | None = None,
        endings: KeptNames | None = None,
    ) -> None:
        forbid_dumps()
        self.restrictions = restrictions or KeptNames(None, "restrictions")
        """The names of the restrictions in force, kept where the keys are."""
        self._latest = latest
        self._providers = provider if isinstance(provider, Providers) else Providers.only(provider)
        self._store = Keystore(blobs)
        self._endings = endings or KeptNames(None, "endings")
        self.losses = Losses(self._providers, blobs, self._endings)
        self._clock = clock
        self._begin = begin
        self._begun: set[str] = set()
        self._beginning = threading.Lock()  # nobody writes into a month while another thread begins it
        self._cache: dict[str, _Lease] = {}
        self._try_again: datetime | None = None  # a renewal failed: none is tried before then
        # Held while opening and destroying, so that neither caches for the other.
        self._lock = threading.Lock()

    def keys_for(
        self, month: Month, window_months: int = WINDOW_MONTHS, *, create: bool = False
    ) -> MonthKeys:
        """Return the keys of a month; with `create` they are made if there are none.

        `ExpiredKeyError` when the window has ended or the keys were destroyed, `ClockError` when somebody who writes
        has a clock that was set back over its end, `UnknownKeyError` when there are none;
        `ConfigurationError`, `IntegrityError`, `TransientError` as the provider and the store say.
        """
        key_id = month_key_id(month, window_months)
        ends = window_end(month, window_months)
        now = self._refuse_ended(key_id, ends, create)
        lease = self._cache.get(key_id)
        if lease is None or now >= lease.renew:
            with self._lock:
                lease = self._lease(key_id, ends, create, now)
            # A provider may be slow, and the window may have ended while it answered.
            self._refuse_ended(key_id, ends, create)
        if create and self._begin is not None and key_id not in self._begun:
            with self._beginning:
                if key_id not in self._begun:
                    self._begin(self, month, window_months)
                    self._begun.add(key_id)
        return lease.keys

    def for_preserving(self, month: Month, window_months: int = WINDOW_MONTHS) -> MonthKeys:
        """Return the keys of a month whose window may have ended, for what a hold keeps from being forgotten.

        The one way in after the end, until the sweep has destroyed the keys; only `lethe.tiers.holds.holds` uses it,
        and nothing read through it is shown to anybody. Never cached. Raises as `named` does.
        """
        key_id = month_key_id(month, window_months)
        with self._lock:
            known = self._store.known(key_id)
            if known.given_up >= 0 and not known.usable:
                raise ExpiredKeyError(f"the keys {key_id} were lost and given up; nothing opens any more")
            return self._open(key_id, create=False, known={key_id: known})

    def named(self, name: str, create: bool = False) -> MonthKeys:
        """Return the keys of something that has no calendar end, such as a hold: `hold.ID`.

        Never cached: what one process destroys, every other refuses from then on. Raises as `keys_for` does,
        and `ValueError` for a name that is no key id or that is a month's.
        """
        with self._lock:
            return self._open(_checked_name(name), create)

    def still_held(self, names: Iterable[str]) -> dict[str, MonthKeys]:
        """Return those of named keys that a provider still holds, although they are marked as destroyed, by name.

        The mark is a file of the warehouse: whoever writes there can lay one down, and it is true only once the key is
        gone from its provider. One look at the providers for all. Raises as `named` does, and `IntegrityError` where a
        provider holds a key whose wrapped secret is gone, which no destruction leaves behind.
        """
        asked = {_checked_name(name) for name in names}
        if not asked:
            return {}
        with self._lock:
            held, silent = self._held()
            if silent and asked - held:
                raise TransientError(next(iter(silent.values())))
            known = self._store.all() if asked & held else {}
            found = {}
            for name in sorted(asked & held):
                if name not in known or not known[name].usable:
                    raise IntegrityError(f"a provider holds the key {name}, but its wrapped secret is gone")
                with suppress(ExpiredKeyError):  # its provider still lists it, and opens nothing with it
                    found[name] = MonthKeys(name, self._secret(name, known[name].usable[-1]))
            return found

    def probe(
        self, month: Month, window_months: int = WINDOW_MONTHS, known: Mapping[str, Known] | None = None
    ) -> None:
        """Open the keys of a month anew and drop them, whatever is cached and whatever the calendar says.

        Raises as `named` does: how one finds out that a live month opens, and that an ended one does not. `known`: what
        `known` returned just now, so that the store is not listed for each month.
        """
        with self._lock:
            self._open(month_key_id(month, window_months), create=False, known=known)

    def known(self) -> Mapping[str, Known]:
        """Return what the store has of every key id."""
        return self._store.all()

    def list(self, now: datetime) -> builtins.list[KeyInfo]:
        """Return what is known of every month that ever had keys, oldest first; the state is that of `now`.

        While a provider does not answer, a month that is marked as destroyed counts as `ended`: nobody can tell.
        """
        infos = self._infos(now)
        created = [
            self._store.created(info.key_id, destroyed and not info.marked) for info, destroyed in infos
        ]
        return [replace(info, created=at) for (info, _), at in zip(infos, created, strict=True)]

    def states(
        self, now: datetime, known: Mapping[str, Known] | None = None
    ) -> tuple[builtins.list[KeyInfo], Mapping[str, str]]:
        """Return what `list` does, and why providers, by name, could not say what they hold.

        In one look at the store, or none with what `known` said just now: when keys were made is not asked (`created`
        is None).
        """
        held = self._held()
        return [info for info, _ in self._infos(now, held, known)], held[1]

    def live(self, now: datetime) -> builtins.list[KeyInfo]:
        """Return what is known of every month that is live at `now`, oldest first, in one look at the store.

        When the keys were made is not asked (`created` is None): on an object store that is a request for each.
        Raises `ClockError` when a month is live by `now` alone: nobody could say what that month has.
        """
        found = [info for info, _ in self._infos(now)]
        if (used := self.used_ahead(now)) is not None:
            for info in found:
                if info.state == "ended" and now < info.ends <= used:
                    raise _contradicted(now, used, info.key_id)
        return [info for info in found if info.state == "live"]

    def used_ahead(self, now: datetime) -> datetime | None:
        """Return the latest time these keys were used at, if that is more than an hour later than `now`."""
        latest = self._peek(now)
        return latest if latest - now > _SKEW else None

    def open_each(self, months: Iterable[tuple[Month, int]]) -> None:
        """Open the keys of several months ahead, their wrapped secrets read side by side.

        What does not open is passed over: `keys_for` tries again and says why.
        """
        now = self._at_least(self._now())
        with self._lock:
            waiting = {
                key_id: ends
                for month, window in months
                if (key_id := month_key_id(month, window)) not in self._cache
                and now < (ends := window_end(month, window))
            }
            if len(waiting) < 2:
                return
            known = self._store.all()
            there = {
                key_id: found.usable[-1]
                for key_id in waiting
                if (found := known.get(key_id)) is not None
                and found.usable
                and not found.destroyed
                and found.lost < 0  # who opens that one has something to say (`_open`)
            }
            with ThreadPoolExecutor(_AT_ONCE) as readers:
                read = list(readers.map(self._read_ahead, there, there.values()))
            for (key_id, generation), wrapped in zip(there.items(), read, strict=True):
                if wrapped is not None:
                    with suppress(LetheError):
                        keys = MonthKeys(key_id, self._secret(key_id, generation, wrapped))
                        self._cache[key_id] = _Lease(waiting[key_id], keys, now + _RENEWED, now + _LEASE)

    def _read_ahead(self, key_id: str, generation: int) -> Wrapped | None:
        with suppress(LetheError):
            return self._store.read(key_id, generation)
        return None

    def _infos(
        self,
        now: datetime,
        held: tuple[set[str], dict[str, str]] | None = None,
        known: Mapping[str, Known] | None = None,
    ) -> builtins.list[tuple[KeyInfo, bool]]:
        """Return every month that ever had keys, oldest first, and whether they are marked as destroyed."""
        now = self._peek(now)
        self._forget_ended(now)
        known = self._store.all() if known is None else known
        ids, silent = held or self._held()
        infos = []
        for key_id in ids | known.keys():
            if match := _MONTH_KEY_ID.fullmatch(key_id):
                of_it = known.get(key_id, Known(False, ()))
                infos.append((self._info(match, of_it, key_id in ids or bool(silent), now), of_it.destroyed))
        return sorted(infos, key=lambda info: (info[0].month, info[0].window_months))

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

    def destroyed_for_good_at(self, month: Month, window_months: int = WINDOW_MONTHS) -> datetime | None:
        """Tell since when no provider holds a key of that month and nobody can bring one back; None: not yet.

        The latest of what the providers say, never earlier than true; it may lie in the future (see `KeyProvider`).
        """
        key_id = month_key_id(month, window_months)
        if not self._store.is_destroyed(key_id):
            return None
        instants = [
            self._providers.get(name).destroyed_for_good_at(kek)
            for name, kek in self._keks(key_id, self._store.known(key_id))
        ]
        return None if None in instants else max(i for i in instants if i is not None)

    def evict(self) -> None:
        """Drop every key from memory; they are opened again when asked for."""
        with self._lock:
            self._cache.clear()

    def _lease(self, key_id: str, ends: datetime, create: bool, now: datetime) -> _Lease:
        """Return the lease of a month: the one there is, a renewed one, or a new one. The lock is held."""
        lease = self._cache.get(key_id)
        if lease is not None:
            waiting = self._try_again is not None and now < self._try_again
            if now < lease.renew or (waiting and now < lease.until):
                return lease
        try:
            keys = self._open(key_id, create and lease is None)
        except (TransientError, ConfigurationError) as error:
            if lease is None or now >= lease.until:
                self._cache.pop(key_id, None)
                raise
            self._try_again = now + _TRIED_AGAIN
            log.warning("%s: %s; they stay open until %s", key_id, error, f"{lease.until:%H:%M:%S} UTC")
            return lease
        except LetheError:
            self._cache.pop(key_id, None)
            raise
        if lease is not None and lease.keys.token_key == keys.token_key:
            keys = lease.keys
        lease = _Lease(ends, keys, now + _RENEWED, now + _LEASE)
        self._cache[key_id] = lease
        return lease

    def _open(self, key_id: str, create: bool, known: Mapping[str, Known] | None = None) -> MonthKeys:
        """Open keys that are there, or make them first.

        1. Refuse what is marked as destroyed, unless it is in doubt whether that is so. Then step 3 tells.
        2. If there is no wrapped secret, make one (`_make`). One that was given up is followed by another only once
           all that it had sealed is out of the tables (`begin_anew`).
        3. Read the newest, unwrap it, derive the keys: one way for those just made, those another worker made in a
           race, and those made a year ago. What cannot be opened again is never used.
        """
        mine = self._store.known(key_id) if known is None else known.get(key_id, Known(False, ()))
        doubtful = self._in_doubt(key_id, mine)
        if mine.destroyed and not doubtful:
            self._refuse_destroyed(key_id)
        usable = mine.usable or (mine.generations if doubtful else ())
        try:
            if not mine.generations:
                if not create:
                    raise UnknownKeyError(f"there are no keys {key_id}: nothing was sealed under them")
                self._make(key_id)
            elif not usable:
                raise _being_given_up(key_id)
            keys = MonthKeys(key_id, self._secret(key_id, (usable or (0,))[-1]))
        except LetheError as error:
            # What went while it was read is no more in doubt: there is nothing that could still open.
            if doubtful and isinstance(error, TransientError) and self._store.known(key_id).generations:
                raise
            # Whatever failed, if somebody destroyed the keys meanwhile then that is why.
            self._refuse_destroyed(key_id)
            if doubtful and not mine.usable:
                raise _being_given_up(key_id) from None
            raise
        if mine.lost in mine.usable:
            log.warning("%s was said to be lost and opens here: the note is withdrawn", key_id)
            with suppress(LetheError):  # whoever only reads may not; another one will
                self._store.withdraw_lost(key_id, mine.lost)
        return keys

    def _in_doubt(self, key_id: str, known: Known) -> bool:
        """Tell whether a mark says that keys have ended which may not have: a live month's, and not decided here.

        Named keys are none of these: who needs them asks `still_held`.
        """
        if not known.generations or not (known.destroyed or not known.usable):
            return False
        match = _MONTH_KEY_ID.fullmatch(key_id)
        if match is None:
            return False
        if self._peek(self._now()) >= window_end(Month.parse(match[1]), int(match[2])):
            return False
        decided = self._endings.names()
        if known.destroyed and key_id in decided:
            return False
        return bool(known.usable) or given_up_name(key_id, known.given_up) not in decided

    def _opens_although_marked(self, key_id: str, known: Known, now: datetime) -> bool:
        """Tell whether keys that are marked as destroyed or given up open all the same, or may.

        The lock is not needed.
        """
        if not self._in_doubt(key_id, known):
            return False
        lease = self._cache.get(key_id)
        if lease is not None and now < lease.renew:
            return True
        try:
            self._secret(key_id, (known.usable or known.generations)[-1])
        except TransientError:
            return True  # nobody can tell, and who asks for its keys is told so
        except LetheError:
            return False
        return True

    def _secret(self, key_id: str, generation: int, wrapped: Wrapped | None = None) -> Secret:
        """Unwrap a generation of a secret; if it moved to another provider meanwhile, the one that came after."""
        wrapped = wrapped or self._store.read(key_id, generation)
        if wrapped is None:
            raise TransientError(f"the wrapped keys {key_id} were made and cannot be read yet: try again")
        try:
            provider = self._providers.get(wrapped.provider)
            return Secret(provider.unwrap(kek_id(key_id, generation), wrapped.wrapped))
        except (ConfigurationError, ExpiredKeyError, TransientError):
            newest = (0, *self._store.known(key_id).usable)[-1]
            if newest <= generation:
                raise
            return self._secret(key_id, newest)

    def begin_anew(self, month: Month, window_months: int = WINDOW_MONTHS) -> MonthKeys:
        """Make other keys for a month whose keys were given up, unless that is done, and return them.

        The last step of giving up: nothing that the former ones sealed may be in the tables any more.
        """
        key_id = month_key_id(month, window_months)
        with self._lock:
            self._cache.pop(key_id, None)
            known = self._store.known(key_id)
            if known.given_up < 0:
                raise LetheError(f"the keys {key_id} were not given up")
            if not known.usable and not known.destroyed:
                self._make(key_id, max(known.given_up, *known.generations) + 1)
        return self.keys_for(month, window_months, create=True)

    def _make(self, key_id: str, generation: int = 0) -> None:
        """Make a secret, unless another worker does so first.

        1. Make the key-encryption key, or find it made. A crash here leaves it without a secret; the next
           caller finds it and goes on.
        2. Wrap a new secret. A crash here leaves nothing.
        3. Store it where no one has stored one. A worker that comes second drops its own.
        4. Look for the mark of destruction again: whoever destroys marks first, so either this sees the mark
           and takes the key away again, or the mark came later and so did the destruction of this very key.
        """
        name = self._store.named_provider() or self._providers.first
        provider = self._providers.to_make_in(name)
        kek = kek_id(key_id, generation)
        provider.create(kek)
        wrapped = provider.wrap(kek, new_secret().reveal())
        self._store.store(key_id, generation, self._now(), wrapped, name)
        if self._store.is_destroyed(key_id):
            provider.destroy(kek)
            self._store.remove(key_id, (generation,))
            self._refuse_destroyed(key_id)

    def _destroy(self, key_id: str) -> None:
        """Destroy keys. Doing all of it again after a crash is safe, whatever the step.

        1. Note with the keys that a month's are being destroyed, then mark them as destroyed, for ever. From here on
           no worker opens or makes them: the mark would not be believed without the note while the month is live, by
           whatever clock, and its key is there.
        2. Destroy the key-encryption keys of every generation, in every provider: a key that moved may have left one
           behind. From here on no one can open them, backups of the warehouse included. After a crash before this
           the keys show as `ended`, so the next sweep comes back to them. One provider that is away does not keep the
           others from destroying theirs.
        3. Remove the wrapped secrets, which nothing opens any more.
        4. Drop what is cached here.
        """
        with self._lock:
            try:
                if _MONTH_KEY_ID.fullmatch(key_id):
                    self._endings.keep(key_id)
                self._store.mark_destroyed(key_id, self._now())
                known = self._store.known(key_id)
                failed: LetheError | None = None
                for name, kek in self._keks(key_id, known):
                    try:
                        self._providers.get(name).destroy(kek)
                    except LetheError as error:
                        failed = failed or error
                if failed is not None:
                    raise failed
                for name in self._providers.names:
                    for kek in self._providers.get(name).list():
                        if base_id(kek) == key_id:  # a move that crashed made it and stored nothing
                            self._providers.get(name).destroy(kek)
                self._store.remove(key_id, known.generations)
            finally:
                self._cache.pop(key_id, None)

    def _keks(self, key_id: str, known: Known) -> builtins.list[tuple[str, str]]:
        """Return where a key-encryption key of these keys is or was: (provider, its name there)."""
        places = [(name, key_id) for name in self._providers.names]
        places += self._store.keks(key_id, known)
        return list(dict.fromkeys(places))

    def held(self, prefix: str) -> set[str]:
        """List the named keys, such as `hold.ID`, of which a provider that answers holds one."""
        return {key_id for key_id in self._held()[0] if key_id.startswith(prefix)}

    def _held(self) -> tuple[set[str], dict[str, str]]:
        """Return the key ids of which a provider holds a key, and by name why a provider did not answer."""
        held, silent = set[str](), dict[str, str]()
        for name in self._providers.names:
            try:
                held |= {base_id(kek) for kek in self._providers.get(name).list()}
            except TransientError as error:
                log.warning("the keys of the provider %s cannot be listed: %s", name, error)
                silent[name] = str(error)
        return held, silent

    def _info(self, match: re.Match[str], known: Known, held: bool, now: datetime) -> KeyInfo:
        key_id, month, window_months = match[0], Month.parse(match[1]), int(match[2])
        ends = window_end(month, window_months)
        state: Literal["live", "ended", "destroyed"] = "live" if now < ends else "ended"
        marked = held and self._opens_although_marked(key_id, known, now)
        if known.destroyed and not marked:
            state = "ended" if held or known.generations else "destroyed"
        given_up = None
        if known.given_up >= 0 and (known.usable or not marked):
            given_up = self._store.read_given_up(key_id, known.given_up)
        until = None if given_up is None else given_up.at
        return KeyInfo(month, window_months, key_id, state, None, ends, until, marked)

    def _refuse_ended(self, key_id: str, ends: datetime, writes: bool = False) -> datetime:
        clock = self._now()
        now = self._at_least(clock)
        if writes and clock < ends <= now:
            if now - clock <= _SKEW:
                return now
            raise _contradicted(clock, now, key_id)
        if now >= ends:
            self._forget_ended(now)
            raise ExpiredKeyError(
                f"the window of the keys {key_id} ended at {ends.isoformat()}: they are not opened any more"
            )
        return now

    def _refuse_destroyed(self, key_id: str) -> None:
        if self._store.is_destroyed(key_id):
            raise ExpiredKeyError(f"the keys {key_id} were destroyed; nothing brings them back")

    def _forget_ended(self, now: datetime) -> None:
        for key_id, lease in tuple(self._cache.items()):
            if now >= lease.ends:
                self._cache.pop(key_id, None)

    def _peek(self, now: datetime) -> datetime:
        return now if self._latest is None else self._latest.peek(now)

    def _at_least(self, now: datetime) -> datetime:
        return now if self._latest is None else self._latest.at_least(now)

    def _now(self) -> datetime:
        now = self._clock()
        if now.tzinfo is None:
            raise TypeError("the clock of a key ring gives instants with a time zone")
        return now


def _contradicted(clock: datetime, used: datetime, key_id: str) -> ClockError:
    return ClockError(
        f"the clock says {clock:%Y-%m-%d %H:%M} UTC, but these keys were used at {used:%Y-%m-%d %H:%M} UTC, when "
        f"{key_id} had ended; {ADVICE}"
    )


def _being_given_up(key_id: str) -> TransientError:
    return TransientError(f"the keys {key_id} are being given up: lethe keys give-up {key_id} ends it")


def _checked_name(name: str) -> str:
    if _MONTH_KEY_ID.fullmatch(name):
        raise ValueError("named keys cannot have the id of a month's keys")
    if base_id(name) != name:
        raise ValueError("a key id does not end in .g and a number: those are later generations")
    return checked_key_id(name)
