"""Who is at which end of a record is read alike by the kernel and by whoever verifies evidence of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from transform_kit import Kit, subjects

from lethe.integrity.evidence.parties import parties_of
from lethe.integrity.evidence.verify_evidence import declared_parties
from lethe.schemas.declaration.format import Format, canonical

NOW = datetime(2026, 12, 15, tzinfo=UTC)
NUMBERS = {"a": "447700900123", "b": "447700900456"}
FIELDS: list[dict[str, Any]] = [
    {"path": "a", "class": "subject", "role": "caller", "end_user": "always"},
    {"path": "b", "class": "subject", "role": "callee", "end_user": "always"},
    {"path": "way", "class": "window"},
    {"path": "leg.kind", "class": "window"},
    {"path": "at", "class": "archive", "type": "timestamp", "column": "event_time", "required": True},
]
WORDS = st.sampled_from(
    ["in", "IN", " in ", "out", "", " ", "İn", "ſ", "1", "true", "in%20", "inside", "%69n", "x\ny"]
)
VALUES: st.SearchStrategy[Any] = st.one_of(WORDS, st.none(), st.booleans(), st.integers(-3, 3), st.just(1.5))
LISTS = st.lists(WORDS, min_size=1, max_size=3)
TESTS = st.one_of(
    st.fixed_dictionaries({"is": LISTS}), st.fixed_dictionaries({"is_not": LISTS}),
    st.fixed_dictionaries({"present": st.booleans()}),
    st.fixed_dictionaries({"matches": st.sampled_from(["^in", "(?i)^in$", "[0-9]", "n", "^$", "t|f"])}),
)  # fmt: skip
ASKED = st.builds(lambda field, test: {"field": field} | test, st.sampled_from(["way", "leg.kind"]), TESTS)
CONDITIONS = st.recursive(
    ASKED,
    lambda below: st.builds(
        lambda how, parts: {how: parts},
        st.sampled_from(["any", "all"]),
        st.lists(below, min_size=1, max_size=3),
    ),
    max_leaves=4,
)


@example({"field": "way", "matches": "^$"}, [("", None), (" ", None), (None, None)], False)
@example({"field": "way", "matches": "(?i)^in$"}, [("İn", None), ("IN", None), ("ın", None)], False)
@given(CONDITIONS, st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=6), st.booleans())
def test_a_swap_is_read_alike_everywhere(when: Any, records: list[tuple[Any, Any]], encoded: bool) -> None:
    fmt = Format.model_validate(
        {
            "name": "test/swap", "version": 1, "title": "t", "channel": "voice", "direction": "unknown",
            "percent_encoded": encoded, "swap": [{"roles": ["caller", "callee"], "when": when}], "field": FIELDS,
        }
    )  # fmt: skip
    values: list[bytes | None] = [
        json.dumps({**NUMBERS, "at": "2026-11-01T10:00:00Z", "way": way, "leg": {"kind": kind}}).encode()
        for way, kind in records
    ]
    kit = Kit(now=NOW)
    people = subjects(kit.process(values, fmt), kit.ring)
    assert len(people) == len(values)
    logged = canonical(fmt)
    for at, value in enumerate(values):
        assert value is not None
        roles = {role: number for role, _, number in people[at, None]}
        kernel = [("origin", roles["caller"]), ("destination", roles["callee"])]
        ours = parties_of(logged, value, "received")
        assert [(party["role"], party["value"]) for party in ours] == kernel
        assert declared_parties(json.loads(logged), value, "received") == ours
