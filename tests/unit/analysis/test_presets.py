"""Every preset equals a plain reading of what it asks, over communications with planted patterns and random ones."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.operations.analysis.communications import SCHEMA
from lethe.operations.analysis.presets import PRESETS, ask
from lethe.schemas.errors import InputError

START = datetime(2026, 1, 5, tzinfo=UTC)
Event = dict[str, Any]
Rows = list[tuple[Any, ...]]


def event(target: int, minutes: int, **more: Any) -> Event:
    """One communication, so many minutes after the start."""
    return {**dict.fromkeys(SCHEMA), "target": target, "time": START + timedelta(minutes=minutes), **more}


def grouped(events: list[Event], *by: Any) -> dict[tuple[Any, ...], list[Event]]:
    groups: dict[tuple[Any, ...], list[Event]] = defaultdict(list)
    for one in events:
        groups[tuple(key(one) if callable(key) else one[key] for key in by)].append(one)
    return groups


def having(events: list[Event], *names: str) -> list[Event]:
    return [e for e in events if all(e[n] is not None for n in names)]


def different(events: list[Event], name: str) -> int:
    return len({e[name] for e in events if e[name] is not None})


def times(events: list[Event]) -> tuple[datetime, datetime]:
    return min(e["time"] for e in events), max(e["time"] for e in events)


def delivered(events: list[Event]) -> int:
    return sum(e["status_group"] == "DELIVERED" for e in events)


def hour(e: Event) -> datetime:
    time: datetime = e["time"]
    return time.replace(minute=0, second=0, microsecond=0)


def day(e: Event) -> datetime:
    return hour(e).replace(hour=0)


def minute(e: Event) -> datetime:
    time: datetime = e["time"]
    return time.replace(second=0, microsecond=0)


def common_counterparts(events: list[Event]) -> Rows:
    known = [e for e in having(events, "counterpart") if e["counterpart_kind"] not in ("restricted", None)]
    return [
        (*key, different(g, "target"), len(g), *times(g))
        for key, g in grouped(known, "counterpart", "counterpart_kind").items()
        if different(g, "target") >= 2
    ]


def common_accounts(events: list[Event]) -> Rows:
    return [
        (*key, different(g, "target"), len(g), *times(g))
        for key, g in grouped(having(events, "account"), "account").items()
        if different(g, "target") >= 2
    ]


def common_senders(events: list[Event]) -> Rows:
    return [
        (*key, different(g, "target"), different(g, "account"), len(g), *times(g))
        for key, g in grouped(having(events, "sender"), "sender").items()
        if different(g, "target") >= 2
    ]


def common_routes(events: list[Event]) -> Rows:
    return [
        (*key, different(g, "target"), len(g), delivered(g))
        for key, g in grouped(having(events, "route"), "route").items()
        if different(g, "target") >= 2
    ]


def between_targets(events: list[Event]) -> Rows:
    known = [e for e in events if e["counterpart_kind"] == "target"]
    return [(*key, len(g), *times(g)) for key, g in grouped(known, "target", "counterpart", "role").items()]


def code_flood(events: list[Event]) -> Rows:
    known = [
        e
        for e in having(events, "account", "channel")
        if e["role"] == "recipient" and e["channel"] != "voice"
    ]
    return [
        (*key, different(g, "account"), len(g))
        for key, g in grouped(known, "target", hour).items()
        if different(g, "account") >= 5
    ]


def repeats(events: list[Event]) -> Rows:
    known = [e for e in having(events, "sender") if e["role"] == "recipient"]
    groups = grouped(known, "target", "sender", "account", hour)
    return [(*key, len(g)) for key, g in groups.items() if len(g) >= 10]


def fan_out(events: list[Event]) -> Rows:
    known = [e for e in having(events, "counterpart") if e["role"] in ("sender", "caller")]
    return [
        (*key, different(g, "counterpart"), len(g))
        for key, g in grouped(known, "target", day).items()
        if different(g, "counterpart") >= 20
    ]


def short_calls(events: list[Event]) -> Rows:
    known = [
        e
        for e in having(events, "counterpart", "duration_ms")
        if e["channel"] == "voice" and e["role"] in ("sender", "caller") and e["duration_ms"] <= 6000
    ]
    return [
        (*key, different(g, "counterpart"), len(g))
        for key, g in grouped(known, "target", day).items()
        if different(g, "counterpart") >= 5
    ]


def never_arrives(events: list[Event]) -> Rows:
    known = [e for e in having(events, "status_group") if e["role"] == "recipient"]
    return [
        (*key, len(g), delivered(g))
        for key, g in grouped(known, "target").items()
        if len(g) >= 10 and delivered(g) < len(g) / 5
    ]


def recycled(events: list[Event]) -> Rows:
    found = []
    for (target,), mine in grouped([e for e in events if e["role"] == "recipient"], "target").items():
        arrivals = sorted({e["time"] for e in mine if e["status_group"] == "DELIVERED"})
        failures = [e["time"] for e in mine if e["status_group"] in ("UNDELIVERABLE", "REJECTED")]
        for at, alive in enumerate(arrivals):
            since = arrivals[at - 1] if at else datetime(1970, 1, 1, tzinfo=UTC)
            between = [t for t in failures if since < t < alive]
            if len(between) >= 3 and alive - min(between) >= timedelta(days=21):
                found.append((target, min(between), alive, len(between)))
    return found


def switching(name: str) -> Callable[[list[Event]], Rows]:
    def reference(events: list[Event]) -> Rows:
        known = having(events, "account", name)
        if name == "sender":
            known = [e for e in known if e["role"] == "recipient"]
        return [
            (*key, different(g, name), len(g))
            for key, g in grouped(known, "target", "account", day).items()
            if different(g, name) >= 3
        ]

    return reference


def at_night(events: list[Event]) -> Rows:
    found = []
    for key, g in grouped(events, "target").items():
        night = sum(e["time"].hour in (22, 23, 0, 1, 2, 3, 4) for e in g)
        if len(g) >= 10 and night > len(g) / 2:
            found.append((*key, len(g), night))
    return found


def silence(events: list[Event]) -> Rows:
    found = []
    for (target,), g in grouped(events, "target").items():
        moments = sorted(e["time"] for e in g)
        found += [(target, a, b) for a, b in itertools.pairwise(moments) if b - a >= timedelta(days=30)]
    return found


def same_minute(events: list[Event]) -> Rows:
    return [
        (*key, different(g, "target"), len(g))
        for key, g in grouped(having(events, "account"), "account", minute).items()
        if different(g, "target") >= 3
    ]


def charges(events: list[Event]) -> Rows:
    known = having(events, "charge", "currency")
    return [
        (*key, len(g), sum(e["charge"] for e in g))
        for key, g in grouped(known, "target", "account", "currency").items()
    ]


REFERENCES: dict[str, Callable[[list[Event]], Rows]] = {
    "common-counterparts": common_counterparts,
    "common-accounts": common_accounts,
    "common-senders": common_senders,
    "common-routes": common_routes,
    "between-targets": between_targets,
    "code-flood": code_flood,
    "repeats": repeats,
    "fan-out": fan_out,
    "short-calls": short_calls,
    "never-arrives": never_arrives,
    "recycled": recycled,
    "sender-switching": switching("sender"),
    "route-switching": switching("route"),
    "at-night": at_night,
    "silence": silence,
    "same-minute": same_minute,
    "charges": charges,
}

PLANTED: dict[str, list[Event]] = {
    "common-counterparts": [event(t, t, counterpart="P-1", counterpart_kind="person") for t in (1, 2)],
    "common-accounts": [event(t, t, account="acme") for t in (1, 2)],
    "common-senders": [event(t, t, sender="ACME") for t in (1, 2)],
    "common-routes": [event(t, t, route="gold", status_group="DELIVERED") for t in (1, 2)],
    "between-targets": [event(1, 1, counterpart="T2", counterpart_kind="target", role="sender")],
    "code-flood": [event(1, n, role="recipient", channel="sms", account=f"a{n}") for n in range(5)],
    "repeats": [event(1, n, role="recipient", sender="ACME") for n in range(10)],
    "fan-out": [event(1, n, role="sender", counterpart=f"P-{n}") for n in range(20)],
    "short-calls": [
        event(1, n, role="sender", channel="voice", counterpart=f"P-{n}", duration_ms=6000) for n in range(5)
    ],
    "never-arrives": [event(1, n, role="recipient", status_group="UNDELIVERABLE") for n in range(10)],
    "recycled": [
        *(event(1, n, role="recipient", status_group="UNDELIVERABLE") for n in range(3)),
        event(1, 21 * 1440, role="recipient", status_group="DELIVERED"),
    ],
    "sender-switching": [event(1, n, role="recipient", account="acme", sender=f"S{n}") for n in range(3)],
    "route-switching": [event(1, n, account="acme", route=f"r{n}") for n in range(3)],
    "at-night": [event(1, n) for n in range(10)],
    "silence": [event(1, 0), event(1, 30 * 1440)],
    "same-minute": [event(t, 7, account="acme") for t in (1, 2, 3)],
    "charges": [event(1, n, account="acme", currency="EUR", charge=Decimal("0.02")) for n in range(3)],
}

_FEW = st.sampled_from
_events = st.lists(
    st.builds(
        event,
        st.integers(1, 4),
        st.one_of(
            st.integers(0, 90), st.sampled_from([1439, 1440, 20 * 1440, 21 * 1440, 30 * 1440, 52 * 1440])
        ),
        role=_FEW(["recipient", "recipient", "sender", "caller"]),
        channel=_FEW(["sms", "voice", None]),
        counterpart=_FEW(["P-1", "P-2", "ACME", "T1", None]),
        counterpart_kind=_FEW(["person", "business", "target", "restricted", None]),
        account=_FEW(["a", "b", "c", "d", "e", "f", None]),
        sender=_FEW(["S", "T", "U", None]),
        route=_FEW(["r", "s", "t", None]),
        status_group=_FEW(["DELIVERED", "UNDELIVERABLE", "REJECTED", "PENDING", None]),
        duration_ms=_FEW([0, 6000, 6001, None]),
        charge=_FEW([Decimal("0.02"), Decimal("0.5"), None]),
        currency=_FEW(["EUR", "USD", None]),
    ),
    max_size=120,
)


def frame(events: list[Event]) -> pl.DataFrame:
    return pl.DataFrame(events, SCHEMA, orient="row")


def same(name: str, events: list[Event]) -> Rows:
    found = ask(frame(events), name).rows
    key = repr
    assert sorted(found, key=key) == sorted(REFERENCES[name](events), key=key)
    again = ask(frame(events[::-1]), name).rows
    assert found == again, "the order of what came in does not count"
    return found


def test_there_is_a_plain_reading_of_every_preset() -> None:
    assert PRESETS.keys() == REFERENCES.keys() == PLANTED.keys()
    assert len(PRESETS) >= 12
    assert all(p.limits and "ORDER BY" in p.query for p in PRESETS.values())


@pytest.mark.parametrize("name", list(REFERENCES))
def test_what_is_planted_is_found_and_one_less_is_not(name: str) -> None:
    events = PLANTED[name]
    assert len(same(name, events)) == 1
    if name not in ("charges", "between-targets"):
        assert same(name, events[1:]) == [], "at the threshold, not below"


@pytest.mark.parametrize("name", list(REFERENCES))
@settings(max_examples=40, deadline=None)
@given(events=_events)
def test_random_communications_give_the_plain_answer(name: str, events: list[Event]) -> None:
    same(name, events + PLANTED[name])


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(InputError, match="no such preset"):
        ask(frame([]), "nothing")
