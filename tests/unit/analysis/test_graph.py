"""The link graph: what is in it, that it stays put, and what is drawn."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime

import polars as pl
import pytest

from lethe.operations.analysis import graph as graphs
from lethe.operations.analysis.communications import SCHEMA


def frame(*contacts: tuple[int, str, str]) -> pl.DataFrame:
    now = datetime(2026, 1, 5, tzinfo=UTC)
    rows = [
        {
            **dict.fromkeys(SCHEMA),
            "target": t,
            "time": now,
            "counterpart": c,
            "counterpart_kind": k,
            "account": "acme",
        }
        for t, c, k in contacts
    ]
    return pl.DataFrame(rows, SCHEMA, orient="row")


EVENTS = frame(
    (1, "P-1", "person"), (1, "P-1", "person"), (2, "P-1", "person"), (1, "ACME", "business"), (1, "T2", "target"),
    (2, "T1", "target"), (2, "restricted", "restricted"),
)  # fmt: skip


def test_targets_and_whom_they_share() -> None:
    found = graphs.graph(EVENTS, 2)
    assert [(n.name, n.kind, n.total, n.links) for n in found.nodes] == [
        ("T1", "target", 4, (("T2", 1),)),
        ("T2", "target", 2, (("T1", 1),)),
        ("P-1", "person", 3, (("T1", 2), ("T2", 1))),
        ("ACME", "business", 1, (("T1", 1),)),
    ]
    assert found.links == [("T1", "T2", 1), ("T1", "P-1", 2), ("T2", "P-1", 1), ("T1", "ACME", 1)]


def test_filters_and_the_cap_say_what_is_not_shown() -> None:
    assert [n.name for n in graphs.graph(EVENTS, 2, ("person",)).nodes] == ["T1", "T2", "P-1"]
    assert graphs.graph(EVENTS, 2, least=2).dropped == 1
    assert "account acme" in [n.name for n in graphs.graph(EVENTS, 2, graphs.KINDS).nodes]
    many = frame(*((1, f"P-{n:04d}", "person") for n in range(600)))
    found = graphs.graph(many, 1)
    assert (len(found.nodes), found.dropped) == (graphs.MOST_NODES, 101)


def test_the_same_graph_lies_the_same_way_whatever_the_order_of_its_events() -> None:
    found = graphs.graph(EVENTS, 2)
    again = graphs.graph(EVENTS.reverse(), 2)
    assert graphs.place(found, {}) == graphs.place(again, {})


def test_what_was_placed_stays_when_somebody_is_added_or_filtered() -> None:
    first = graphs.place(graphs.graph(EVENTS, 2), {})
    more = pl.concat([EVENTS, frame((2, "P-9", "person"))])
    second = graphs.place(graphs.graph(more, 2), first)
    assert {name: second[name] for name in first} == first
    assert "P-9" in second
    fewer = graphs.place(graphs.graph(EVENTS, 2, ("business",)), first)
    assert fewer.items() <= first.items()


def test_a_target_keeps_its_place_under_its_own_key() -> None:
    found = graphs.graph(EVENTS, 2)
    first = graphs.place(found, {}, {"T1": "entry-a", "T2": "entry-b"})
    swapped = graphs.place(found, first, {"T1": "entry-b", "T2": "entry-a"})
    assert swapped == first


@pytest.mark.parametrize("standalone", [True, False])
def test_the_drawing_is_well_formed_and_escapes(standalone: bool) -> None:
    odd = frame((1, '<script>"&', "business"))
    found = graphs.graph(odd, 1)
    drawn = graphs.svg(found, graphs.place(found, {}), {}, standalone=standalone)
    ET.fromstring(drawn)
    assert "<script" not in drawn
    assert ("<style" in drawn) is standalone, "a page's policy allows no style of its own"
    ET.fromstring(graphs.graphml(found, {}))


def test_five_hundred_nodes_are_placed_apart() -> None:
    many = frame(*((n % 5 + 1, f"P-{n:04d}", "person") for n in range(600)))
    found = graphs.graph(many, 5)
    placed = graphs.place(found, {})
    assert len(placed) == 500
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in placed.values())
    assert len(set(placed.values())) > 490


def test_names_in_the_drawing_never_lie_on_each_other() -> None:
    targets = [graphs.Node(f"T{n}", "target", 50, ()) for n in range(1, 31)]
    shared = [graphs.Node(f"P-{n}", "person", 9, (("T1", 4), ("T2", 5))) for n in range(400)]
    whole = graphs.Graph([*targets, *shared], [(a, n.name, c) for n in shared for a, c in n.links], 0)
    labels = {n.name: f"+92 300 … {n.name}" for n in whole.nodes}
    drawing = graphs.svg(whole, graphs.place(whole, {}), labels)
    boxes = []
    for x, y, anchor, text in re.findall(
        r'<text x="([\d.]+)" y="([\d.]+)"(?: text-anchor="(\w+)")?>([^<]+)</text>', drawing
    ):
        wide = 7.0 * len(text)  # as wide as a browser draws it at most
        left = float(x) - {"": 0.0, "middle": wide / 2, "end": wide}[anchor]
        assert left >= 0
        assert left + wide <= 960
        boxes.append((left, float(y) - 10, left + wide, float(y) + 2))
    assert len(boxes) >= 20
    for at, a in enumerate(boxes):
        assert not any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in boxes[at + 1 :])
