"""Answers that were just given, kept for the pages, orders and views of them that follow: no second look is needed.

What is kept lies in this process alone, sealed under the key of its case, for a quarter of an hour at most. It is given
again only to the session that asked, for the very question it answers, while everything holds that let it be given:
the grant, the role, the case, and what decides what may be shown of the window (`standing`: restrictions, erasures,
live keys). Otherwise there is none, and whoever asks looks again, under a grant and with an entry in the audit. Another
instance has none either.
"""

from __future__ import annotations

import secrets
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import orjson

from lethe.keys.ring import KeyRing
from lethe.keys.sealing import open_value, seal_value
from lethe.operations.access.cases import key_name, value_digest
from lethe.operations.access.desk import Desk
from lethe.operations.access.grants import Read, RefusedError
from lethe.operations.access.sessions import SignedIn
from lethe.schemas.errors import LetheError

LASTS: Final = timedelta(minutes=15)
MOST_BYTES: Final = 128 * 1024 * 1024
"""How much all kept answers of a process hold together, compressed; the oldest go first."""
_MOST_EACH: Final = 4
"""How many answers a session has kept."""


@dataclass(frozen=True, slots=True)
class _Kept:
    session: str
    read: Read
    grant: str
    question: str
    standing: str
    made: datetime
    sealed: bytes = field(repr=False)


class Answers:
    """The answers this process keeps. `standing` names what decides, now, what of the window may be shown."""

    def __init__(
        self, ring: KeyRing, desk: Desk, clock: Callable[[], datetime], standing: Callable[[], str]
    ) -> None:
        self._ring = ring
        self._desk = desk
        self._clock = clock
        self._standing = standing
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def keep(
        self, who: SignedIn, read: Read, grant: str, question: Any, standing: str, answer: dict[str, Any]
    ) -> str:
        """Keep an answer and return its name. `standing` is what stood before the window was read."""
        name, keys = secrets.token_urlsafe(16), self._ring.named(key_name(read.case))
        sealed = seal_value(keys, "answers", "answer", name, zlib.compress(orjson.dumps(answer), 1))
        kept = _Kept(
            _session(who), read, grant, value_digest(keys, _text(question)), standing, self._clock(), sealed
        )
        with self._lock:
            self._kept[name] = kept
            self._make_room(kept.session)
        return name

    def again(self, who: SignedIn, read: Read, question: Any, name: str) -> dict[str, Any] | None:
        """Give a kept answer to a question once more; None where one has to look (again)."""
        kept = self._kept.get(name)
        if kept is None:
            return None
        if not timedelta(0) <= self._clock() - kept.made < LASTS:
            self._drop(name)
            return None
        if kept.session != _session(who) or kept.read != read:
            return None  # another's, or for another question: theirs stays
        try:
            self._desk.still(who.person, read, kept.grant)
            keys = self._ring.named(key_name(read.case))
            if kept.question != value_digest(keys, _text(question)):
                return None
            if self._standing() != kept.standing:
                self._drop(name)
                return None
            packed = open_value(keys, "answers", "answer", name, kept.sealed)
        except RefusedError:
            self._drop(name)
            return None
        except LetheError:  # the key or the store does not answer: looking again says why
            return None
        answer: dict[str, Any] = orjson.loads(zlib.decompress(packed))
        return answer

    def forget(self, who: SignedIn) -> None:
        """Forget what a session has kept: it ends."""
        with self._lock:
            for name in [n for n, k in self._kept.items() if k.session == _session(who)]:
                del self._kept[name]

    def _drop(self, name: str) -> None:
        with self._lock:
            self._kept.pop(name, None)

    def _make_room(self, session: str) -> None:
        now = self._clock()
        old = [n for n, k in self._kept.items() if not timedelta(0) <= now - k.made < LASTS]
        mine = [n for n, k in self._kept.items() if k.session == session]
        for name in {*old, *mine[:-_MOST_EACH]}:
            del self._kept[name]
        while sum(len(k.sealed) for k in self._kept.values()) > MOST_BYTES:
            self._kept.popitem(last=False)


def _session(who: SignedIn) -> str:
    """Name a session by what only it has; the token of its forms changes with every sign-in."""
    return sha256(f"{who.person.id}\0{who.csrf}".encode()).hexdigest()


def _text(question: Any) -> str:
    return orjson.dumps(question, option=orjson.OPT_SORT_KEYS).decode()
