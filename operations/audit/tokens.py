"""What an audit entry says of the people it is about: tokens under keys of the audit's own, one set for each month.

The month is that of the entry, not of the records that were looked at. These keys have nothing to do with those of the
window, and a token is a keyed hash: no key turns it back into a number. So an entry never links months of the window,
neither with each other nor with a person, whoever has it and whichever keys of the window are left. They are kept as
long as the audit: who knows a number and has the keys can find out who looked at it, for as long as that may be asked.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from lethe.keys.monthkeys import MonthKeys
from lethe.keys.ring import KeyRing, UnknownKeyError
from lethe.schemas.subjects.addresses import Subject

_BYTES: Final = 16
_LEASE: Final = timedelta(minutes=20)
_MESSAGE: Final = "message"


class AuditTokens:
    """Makes the tokens. Safe to use from several threads."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._lock = threading.Lock()
        self._opened: dict[str, tuple[datetime, MonthKeys]] = {}

    def of(self, now: datetime, subjects: Iterable[Subject], messages: Iterable[str] = ()) -> list[str]:
        """Return the tokens of an entry made now, in hexadecimal, sorted; the month's keys are made if there are none.

        Raises as `KeyRing.named` does.
        """
        subjects, messages = tuple(subjects), tuple(messages)
        return _tokens(self._keys(_month(now), now), subjects, messages) if subjects or messages else []

    def of_month(self, month: str, now: datetime, subjects: Iterable[Subject]) -> list[str]:
        """Return the tokens that subjects had in the entries of a month, `YYYY-MM`; none where nothing was asked."""
        try:
            return _tokens(self._keys(month, now, create=False), tuple(subjects), ())
        except UnknownKeyError:
            return []

    def _keys(self, month: str, now: datetime, create: bool = True) -> MonthKeys:
        with self._lock:
            opened = self._opened.get(month)
            if opened is not None and timedelta(0) <= now - opened[0] < _LEASE:
                return opened[1]
            keys = self._ring.named(key_name(month), create)
            self._opened[month] = now, keys
            return keys


def key_name(month: str) -> str:
    """Name the keys of the audit of a month."""
    return f"audit.{month}"


def _month(now: datetime) -> str:
    return f"{now.astimezone(UTC):%Y-%m}"


def _tokens(keys: MonthKeys, subjects: tuple[Subject, ...], messages: tuple[str, ...]) -> list[str]:
    # The kinds are names of our own without NUL, so no two (kind, value) are the same text.
    texts = {f"{s.kind}\0{s.value}" for s in subjects} | {f"{_MESSAGE}\0{m}" for m in messages}
    key = keys.token_key.reveal()
    return sorted(
        hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256")[:_BYTES].hex() for text in texts
    )
