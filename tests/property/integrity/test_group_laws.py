"""Laws of leaf files in groups: nothing is passed over, and nothing is said that is not so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st
from integrity_samples import NAME, NOW, Archive, Row, name, row, table, told

from lethe.integrity.evidence.verify_evidence import verify
from lethe.integrity.log import merkle
from lethe.integrity.log.leaves import decode
from lethe.integrity.log.signing import Signer
from lethe.integrity.rows.canonical_rows import encode
from lethe.integrity.verify.whole import proven
from lethe.schemas.errors import IntegrityError

SIGNER = Signer.generate(NAME, NOW)
KEYS = [str(SIGNER.history.sets[0].ed25519)]
COMMIT = 70

Fault = Callable[[list[Row], Row], None]
"""Does something to a row of the archive."""


def alter(rows: list[Row], victim: Row) -> None:
    rows[rows.index(victim)] = victim | {"status": "X"}


def remove(rows: list[Row], victim: Row) -> None:
    rows.remove(victim)


def unscope(rows: list[Row], victim: Row) -> None:
    rows[rows.index(victim)] = victim | {"integrity_hash": None}


def move(rows: list[Row], victim: Row) -> None:
    rows[rows.index(victim)] = victim | {"offset": victim["offset"] + 10_000}


def nest(rows: list[Row], victim: Row) -> None:
    rows[rows.index(victim)] = victim | {"index": 7}


def misdate(rows: list[Row], victim: Row) -> None:
    rows[rows.index(victim)] = victim | {"event_time": victim["event_time"].replace(month=5)}


def misplace(rows: list[Row], victim: Row) -> None:
    rows[rows.index(victim)] = victim | {"month": "2026-02"}


def double(rows: list[Row], victim: Row) -> None:
    rows.append(victim)


def double_altered(rows: list[Row], victim: Row) -> None:
    rows.append(victim | {"status": "X"})


def add(rows: list[Row], victim: Row) -> None:
    rows.append(victim | {"index": 9})


LEAVING = (alter, remove, unscope, move, nest, misdate)
FAULTS: tuple[Fault, ...] = (*LEAVING, misplace, double, double_altered, add)


@cache
def archives(count: int) -> tuple[Archive, Archive]:
    """The same rows in commits of 70, with all leaf hashes and in groups."""
    values = [row(offset) for offset in range(count)]
    return Archive.of(values, COMMIT, SIGNER, whole=True), Archive.of(values, COMMIT, SIGNER)


def group_of(offset: int) -> tuple[int, int]:
    return offset // COMMIT, offset % COMMIT // 32


counts = st.sampled_from([1, 2, 31, 32, 33, 64, 65, 70, 71, 140])
faults = st.lists(st.tuples(st.integers(0, 139), st.sampled_from(FAULTS)), min_size=1, max_size=6)


@settings(max_examples=150)
@given(counts, faults)
def test_with_any_faults_nothing_is_passed_over_and_nobody_blamed_who_is_not_to(
    count: int, wanted: list[tuple[int, Fault]]
) -> None:
    whole, grouped = archives(count)
    values = grouped.changed()
    for offset, fault in wanted:
        if offset < count and grouped.rows[offset] in values:
            fault(values, grouped.rows[offset])
    expected, found = set(told(whole.findings(values))), set(told(grouped.findings(values)))
    of_groups = {where for kind, where in found if " to " in where or kind == "not proven"}
    assert bool(found) == bool(expected)
    # What is named is named rightly; what was moved may have to be called missing and added.
    named = {one for one in found if one[1] not in of_groups}
    moved = {where for kind, where in expected - found if kind == "moved"}
    assert {one for one in named - expected if one[0] not in ("missing", "added")} == set()
    assert {where for kind, where in named - expected if kind == "missing"} <= moved
    # What is not named lies in a group that is.
    spans = [tuple(int(one.split("/")[2]) for one in where.split(" to ")) for where in of_groups]
    for kind, where in expected - found:
        offset = int(where.split("/")[2])
        assert kind == "moved" or any(span[0] <= offset <= span[-1] for span in spans), (kind, where)
    # Every missing row is named, as missing or as moved.
    for kind, where in expected:
        if kind in ("missing", "moved"):
            assert {("missing", where), ("moved", where)} & found


@settings(max_examples=60)
@given(counts, st.data())
def test_a_row_can_be_proven_while_its_group_is_as_logged_whatever_became_of_others(
    count: int, data: st.DataObject
) -> None:
    _, grouped = archives(count)
    mine = data.draw(st.integers(0, count - 1))
    values = grouped.changed()
    others = [offset for offset in range(count) if group_of(offset) != group_of(mine)]
    if others:
        data.draw(st.sampled_from(FAULTS))(values, grouped.rows[data.draw(st.sampled_from(others))])
    evidence = replace(grouped, rows=values).evidence(table([grouped.rows[mine]]))
    assert verify(evidence, KEYS).record == name(mine)


leaf_hashes = st.binary(min_size=32, max_size=32)


@given(st.lists(leaf_hashes, min_size=1, max_size=32, unique=True), st.data())
def test_what_is_proven_is_what_was_logged(leaves: list[bytes], data: st.DataObject) -> None:
    standing: list[list[bytes]] = [[leaf] for leaf in leaves]
    for place in data.draw(st.sets(st.integers(0, len(leaves) - 1), max_size=3)):
        standing[place] = data.draw(st.lists(leaf_hashes, max_size=2))
    whole = all(set(found) == {leaf} for found, leaf in zip(standing, leaves, strict=True))
    assert proven(merkle.root(leaves), standing) == (leaves if whole else None)


@given(counts, st.integers(0, 2_000), st.integers(1, 255), st.booleans())
def test_a_damaged_leaf_file_is_read_or_refused(count: int, at: int, change: int, cut: bool) -> None:
    _, grouped = archives(count)
    data = bytearray(grouped.commits[0].leaf_file)
    data[at % len(data)] ^= change
    with suppress(IntegrityError):
        assert decode(bytes(data), 0).groups
    if cut:
        with suppress(IntegrityError):
            decode(bytes(data[: at % len(data)]), 0)


def test_the_groups_are_those_of_the_tree() -> None:
    for count in (1, 31, 32, 33, 64, 65, 1_000, 1_025):
        leaves = encode(table([row(0)])).leaf_hashes() * count
        assert merkle.root(merkle.subtree_roots(leaves, 5)) == merkle.root(leaves)
        assert merkle.subtree_roots(leaves, 5) == [
            merkle.root(leaves[n : n + 32]) for n in range(0, count, 32)
        ]
