"""Prove that each live month opens and each ended one does not, by trying."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from lethe.keys.keeping.keystore import Known
from lethe.keys.ring import UNREADABLE, KeyInfo, KeyRing, UnknownKeyError
from lethe.schemas.errors import ExpiredKeyError, LetheError

LATE: Final = timedelta(days=2)
"""A month whose key is there for so long after its end is late: sweeps run daily."""


@dataclass(frozen=True, slots=True)
class KeyReport:
    """What became of one month's keys. `opens`: they were unwrapped just now; `gone`: for good since then.

    `given_up`: what came in before is unreadable, because the keys of then were lost.
    `trouble` is empty when all is as it must be; else it says what is wrong, and `advice` what to do.
    """

    key_id: str
    state: str
    opens: bool
    gone: datetime | None
    trouble: str = ""
    advice: str = ""
    given_up: datetime | None = None


def check_keys(
    ring: KeyRing,
    now: datetime,
    infos: Iterable[KeyInfo] | None = None,
    known: Mapping[str, Known] | None = None,
) -> Iterator[KeyReport]:
    """Try every month's keys, or those that `states` of the ring gave: nothing is taken from what is cached.

    `known`: what the ring had of every key id just now.
    """
    known = ring.known() if known is None else known
    for info in ring.states(now)[0] if infos is None else infos:
        yield _live(ring, info, known) if info.state == "live" else _over(ring, info, now, known)


def _live(ring: KeyRing, info: KeyInfo, known: Mapping[str, Known]) -> KeyReport:
    try:
        ring.probe(info.month, info.window_months, known)
    except UnknownKeyError:
        # A worker died between making the key and storing what it wrapped: nothing was sealed yet.
        return KeyReport(info.key_id, info.state, False, None)
    except (ExpiredKeyError, *UNREADABLE) as error:
        return KeyReport(
            info.key_id, info.state, False, None, f"does not open: {error}",
            "until it is back, look-ups answer without this month and its records cannot be taken in; if it is lost "
            f"without a copy, lethe keys give-up {info.key_id}",
            info.given_up,
        )  # fmt: skip
    if info.marked:
        return KeyReport(
            info.key_id, info.state, True, None, "it is marked as destroyed or given up, which nobody did: it opens",
            f"the mark is not believed; remove _keys/{info.key_id}.destroyed.json or "
            f"_keys/{info.key_id}.gN.given-up, whichever is there, and find out who can write there",
            info.given_up,
        )  # fmt: skip
    return KeyReport(info.key_id, info.state, True, None, given_up=info.given_up)


def _over(ring: KeyRing, info: KeyInfo, now: datetime, known: Mapping[str, Known]) -> KeyReport:
    opens, trouble, advice = False, "", ""
    try:
        ring.probe(info.month, info.window_months, known)
        opens = True
    except (ExpiredKeyError, UnknownKeyError, *UNREADABLE):
        pass
    try:
        gone = ring.destroyed_for_good_at(info.month, info.window_months)
    except LetheError as error:
        return KeyReport(
            info.key_id, info.state, opens, None, f"nobody can tell whether it is gone: {error}",
            "the provider must answer before its destruction counts",
        )  # fmt: skip
    late = (ring.used_ahead(now) or now) - info.ends
    if late < timedelta() and info.state == "ended":
        # No sweep does that, and the mark is a plain file of the warehouse.
        trouble = "it is marked as destroyed before its window has ended; its key is there and does not open"
        advice = (
            f"find out who did; if _keys/{info.key_id}.json is missing or damaged, bring it back from the warehouse's "
            "backup: the month opens again"
        )
    elif late < timedelta():
        trouble = "its key was destroyed before its window has ended"
        advice = "no sweep does that: find out who did; what the window had of the month is gone"
    elif info.state == "destroyed" and gone is None:
        trouble, advice = "a provider still holds it, or can bring it back", "lethe expire destroys it again"
    elif info.state == "ended" and late > LATE:
        what = "still opens" if opens else "is still held"
        trouble = f"its window ended {late.days} days ago and it {what}"
        advice = "lethe expire says what keeps it from being destroyed"
    return KeyReport(info.key_id, info.state, opens, gone, trouble, advice)
