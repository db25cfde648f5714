"""Every commit is compared with the past of its formats; what is different is named, logged and kept.

Nothing of it can keep a commit from counting: it happens afterwards, and what goes wrong here is logged. A process that
is killed loses what it saw in the last half minute, which makes the past a little shorter and nothing else.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from lethe.schemas.errors import LetheError
from lethe.schemas.transformed import TransformedBatch
from lethe.tiers.quality.compare import LEAST_WINDOW, changes, measured
from lethe.tiers.quality.past import ACCEPTED_AFTER, Found, Past, day_of, load, save, save_changes
from lethe.tiers.quality.profile import AGE, NEWEST, REPEATED, Profile, profiles
from lethe.tiers.store.objects import Objects

log = logging.getLogger("lethe.quality")

_SAVED_EVERY: Final = timedelta(seconds=30)
_READ_EVERY: Final = timedelta(minutes=15)
_SHOWN_FOR: Final = timedelta(days=1)


class Quality:
    """Compares what one process commits. `now` of its methods is the instant of the commit."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._writer = secrets.token_hex(6)
        self._past: Past | None = None
        self._read = self._saved = datetime.min
        self._day = ""
        self._mine: dict[str, Profile] = {}
        self._found: list[Found] = []
        self._pending: dict[str, Profile] = {}

    def check(
        self, batches: Sequence[TransformedBatch], now: datetime, replayed: bool = False
    ) -> list[Found]:
        """Compare what was committed, remember it, and return what is different. Raises nothing.

        `replayed`: it had been rejected once. Such records are a choice of what came, so less can be said of them and
        they are no measure for others; but one that was sent again meanwhile is here twice.
        """
        try:
            return self._check(batches, now, replayed)
        except LetheError as error:
            log.warning("records were not compared with those before: %s", error)
        except Exception as error:  # noqa: BLE001  (statistics must not end a commit that counts)
            log.warning("records were not compared with those before (%s)", type(error).__name__)
        return []

    def current(self, now: datetime) -> list[Found]:
        """Return the changes that commits of the last day still showed."""
        return [one for one in self._past.found if now - one.last <= _SHOWN_FOR] if self._past else []

    def save(self) -> None:
        """Write what was seen since it was written last."""
        if self._mine:
            try:
                save(self._objects, self._day, self._writer, self._mine)
            except LetheError as error:
                log.warning("what records look like was not written: %s", error)

    def _check(self, batches: Sequence[TransformedBatch], now: datetime, replayed: bool) -> list[Found]:
        if self._day != (today := day_of(now)):
            self.save()
            self._day, self._mine, self._found = today, {}, []
            self._read = datetime.min
        if self._past is None or now.replace(tzinfo=None) - self._read >= _READ_EVERY:
            self.save()
            self._past, self._read = load(self._objects, now), now.replace(tzinfo=None)
        found: list[Found] = []
        for name, profile in profiles(batches, int(now.timestamp() * 1000)).items():
            if replayed:
                if any(batch.received_ms <= 0 for batch in batches):
                    profile.columns.pop(AGE, None)
                found += self._compare(self._past, name, profile, now, replayed)
                continue
            window = self._pending.pop(name, Profile())
            window.add(profile)
            if window.rows < LEAST_WINDOW:
                self._pending[name] = window
                continue
            found += self._compare(self._past, name, window, now)
        if found or now.replace(tzinfo=None) - self._saved >= _SAVED_EVERY:
            self._saved = now.replace(tzinfo=None)
            save(self._objects, self._day, self._writer, self._mine)
        return found

    def _compare(
        self, past: Past, name: str, window: Profile, now: datetime, replayed: bool = False
    ) -> list[Found]:
        """Compare a window and count it in, but for the columns that changed; of what was replayed the marks alone."""
        before = past.profiles.setdefault(name, Profile())
        found = [
            Found(name, c.column, window.day, c.what, now, now, c.before, c.now)
            for c in changes(window, before.columns, before, replayed)
        ]
        apart: set[str] = set()
        for one in found:
            known = next((f for f in reversed(past.found) if one.goes_on(f)), None)
            if known is None:
                log.warning(
                    "%s: %s: %s (%s, now %s); see `lethe quality`",
                    name,
                    one.column,
                    one.what,
                    one.before,
                    one.now,
                )
                past.found.append(one)
                self._found.append(one)
            else:
                lasting = replace(known, last=now)
                past.found[past.found.index(known)] = lasting
                self._found = [f for f in self._found if f.key != one.key] + [lasting]
                if now - known.since >= ACCEPTED_AFTER:
                    for column in _shown_by(one):
                        before.columns.pop(column, None)  # how things are from now on
                    continue
            apart.update(_shown_by(one))
        if found:
            save_changes(self._objects, self._day, self._writer, self._found)
        columns = {
            column: value
            for column, value in measured(window).items()
            if column not in apart and not replayed
        }
        again = any(one.what == "repeated" for one in found)
        counted = replace(
            window, rows=0 if replayed else window.rows, columns=columns, hours={} if again else window.hours
        )
        for whole in (before, self._mine.setdefault(name, Profile())):
            whole.add(Profile(counted.rows, counted.day, counted.columns))
            whole.add_hours(counted.hours)
        return found


def _shown_by(one: Found) -> tuple[str, ...]:
    """Return the columns of a profile that a change shows in."""
    if one.what == "repeated":
        return (REPEATED,)
    return (AGE, NEWEST) if one.column == AGE else (one.column,)
