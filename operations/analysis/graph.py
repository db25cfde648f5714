"""The link graph of a case: who is in touch with whom, placed so that what was placed once stays where it is.

Pure. Positions lie in a square of 1 by 1. They follow from the names of the nodes and the links alone, never from
chance, and a node that has a place keeps it: only new ones are moved towards what they are linked with.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import numpy.typing as npt
import polars as pl

from lethe.schemas.words import counted

MOST_NODES: Final = 500
KINDS: Final = ("person", "business", "account")
WIDTH: Final = 960
HEIGHT: Final = 600
_EDGE: Final = 0.04
_MOST_LABELS: Final = 40
_CHARACTER: Final = 7.6  # width of one at 12 pixels, a little more than that of most
_LINE: Final = 15.0

Positions = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Node:
    """A target (`T1` …), a counterpart or an account, with all communications of the targets with it."""

    name: str
    kind: str
    total: int
    links: tuple[tuple[str, int], ...]
    """Its targets, and how many communications with each."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes, targets first, and links (target, other, communications); `dropped` nodes are beyond 500 or filtered."""

    nodes: list[Node]
    links: list[tuple[str, str, int]]
    dropped: int


def graph(events: pl.DataFrame, targets: int, kinds: Sequence[str] = KINDS[:2], least: int = 1) -> Graph:
    """Link the targets with their counterparts, and with accounts where these are asked for.

    Kept are nodes of these kinds with `least` communications or more, up to 500: those first that most targets share.
    """
    parts = [
        events.filter(pl.col("counterpart_kind").is_in(["target", "person", "business"])).select(
            "target", name=pl.col("counterpart"), kind=pl.col("counterpart_kind")
        )
    ]
    if "account" in kinds:
        accounts = events.filter(pl.col("account").is_not_null())
        parts.append(accounts.select("target", name=pl.col("account"), kind=pl.lit("account")))
    counted = pl.concat(parts).group_by("name", "kind", "target").agg(pl.len().alias("count"))
    others = (
        counted.filter(pl.col("kind") != "target")
        .sort("target")
        .group_by("name", "kind", maintain_order=True)
        .agg("target", "count", pl.col("count").sum().alias("total"), pl.len().alias("shared"))
        .sort(["shared", "total", "name", "kind"], descending=[True, True, False, False])
    )
    room = MOST_NODES - targets
    kept = others.filter(pl.col("kind").is_in(list(kinds)) & (pl.col("total") >= least)).head(room)
    nodes, links = _among_targets(counted, targets)
    for row in kept.to_dicts():
        name = f"account {row['name']}" if row["kind"] == "account" else row["name"]
        mine = tuple((f"T{t}", n) for t, n in zip(row["target"], row["count"], strict=True))
        nodes.append(Node(name, row["kind"], row["total"], mine))
        links += [(target, name, n) for target, n in mine]
    return Graph(nodes, links, others.height - kept.height)


def _among_targets(counted: pl.DataFrame, targets: int) -> tuple[list[Node], list[tuple[str, str, int]]]:
    """Give the targets, and the links between them: each communication is in the records of both ends."""
    between: dict[tuple[str, str], int] = {}
    for name, _, target, count in counted.filter(pl.col("kind") == "target").rows():
        first, second = sorted((f"T{target}", name), key=lambda t: int(t[1:]))
        between[first, second] = max(between.get((first, second), 0), count)
    totals = dict(counted.group_by("target").agg(pl.col("count").sum()).rows())
    nodes = []
    for number in range(1, targets + 1):
        name = f"T{number}"
        mine = tuple((b if a == name else a, n) for (a, b), n in sorted(between.items()) if name in (a, b))
        nodes.append(Node(name, "target", totals.get(number, 0), mine))
    return nodes, [(a, b, n) for (a, b), n in sorted(between.items()) if a != b]


def place(
    found: Graph, kept: Positions, keys: Mapping[str, str] | None = None
) -> dict[str, tuple[float, float]]:
    """Place the nodes; what `kept` has stays exactly there. `keys`: under which name a node is kept, if another.

    Fruchterman and Reingold, "Graph drawing by force-directed placement" (1991), from a start by the nodes' names.
    """
    names = [n.name for n in found.nodes]
    as_kept = [(keys or {}).get(name, name) for name in names]
    at = np.array([kept.get(k) or _start(k) for k in as_kept], np.float64).reshape(-1, 2)
    fixed = np.array([k in kept for k in as_kept], np.bool_)
    index = {name: i for i, name in enumerate(names)}
    ends = np.array([(index[a], index[b]) for a, b, _ in found.links], np.int64).reshape(-1, 2)
    if len(names) > 1 and not fixed.all():
        at = _forces(at, ends, fixed)
    return {k: (round(float(x), 4), round(float(y), 4)) for k, (x, y) in zip(as_kept, at, strict=True)}


def _start(name: str) -> tuple[float, float]:
    digest = hashlib.sha256(name.encode()).digest()
    x, y = (int.from_bytes(digest[n : n + 4], "big") / 2**32 for n in (0, 4))
    return 0.1 + 0.8 * x, 0.1 + 0.8 * y


def _forces(
    at: npt.NDArray[np.float64], ends: npt.NDArray[np.int64], fixed: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    count = len(at)
    ideal = 0.8 * math.sqrt(1 / count)
    rounds = 200 if count < 150 else 60
    for step in range(rounds):
        x, y = (np.subtract.outer(at[:, axis], at[:, axis]) for axis in (0, 1))
        push = ideal**2 / np.maximum(x * x + y * y, 1e-6)
        moved = np.column_stack([(x * push).sum(axis=1), (y * push).sum(axis=1)])
        if len(ends):
            along = at[ends[:, 0]] - at[ends[:, 1]]
            pull = along * (np.sqrt((along**2).sum(axis=1)) / ideal)[:, None]
            np.add.at(moved, ends[:, 0], -pull)
            np.add.at(moved, ends[:, 1], pull)
        moved -= (at - 0.5) * 2.0  # as strong as all that pushes outwards, so that the walls stay free
        far = np.maximum(np.sqrt((moved**2).sum(axis=1)), 1e-9)
        most = 0.1 * (1 - step / rounds) ** 1.5 + 0.001
        moved *= (np.minimum(far, most) / far)[:, None]
        free = ~fixed
        at[free] = np.clip(at[free] + moved[free], _EDGE, 1 - _EDGE)
    return at


_STYLE: Final = (
    "<style>text{font:12px sans-serif;fill:#14263a}.link{stroke:#8496a6}.node{stroke:#fff;stroke-width:1.5}"
    ".target{fill:#12304a}.person{fill:#c77700}.business{fill:#0f7a72}.account{fill:#51657a}</style>"
)


def svg(
    found: Graph,
    positions: Positions,
    labels: Mapping[str, str],
    keys: Mapping[str, str] | None = None,
    standalone: bool = False,
) -> str:
    """Draw a placed graph; shapes tell kinds apart as colours do. `labels` by node name.

    A page brings its own style, by class, and what moves among the nodes by keyboard: each says where it lies and how
    it is called, each link which nodes it joins. `standalone`: a drawing that is looked at alone.
    """
    spots = {
        n.name: (round(x * WIDTH, 1), round(y * HEIGHT, 1))
        for n in found.nodes
        for x, y in [positions[(keys or {}).get(n.name, n.name)]]
    }
    said = (
        f"Link graph: {len(found.nodes):,} nodes, {len(found.links):,} links. The table below says the same."
    )
    head = ' xmlns="http://www.w3.org/2000/svg"' if standalone else ""
    role = "img" if standalone else "group"
    out = [f'<svg{head} viewBox="0 0 {WIDTH} {HEIGHT}" role="{role}" aria-label={quoteattr(said)}>']
    numbers = {node.name: n for n, node in enumerate(found.nodes)}
    out += [_STYLE] * standalone
    for a, b, n in found.links:
        (x1, y1), (x2, y2) = spots[a], spots[b]
        wide = round(min(1 + 0.9 * math.log2(n), 7), 1)
        ends = "" if standalone else f' data-ends="{numbers[a]} {numbers[b]}"'
        title = f"{labels.get(a, a)} and {labels.get(b, b)}: {n:,}"
        out.append(
            f'<line class="link"{ends} x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke-width="{wide}">'
            f"<title>{escape(title)}</title></line>"
        )
    texts = _labelled(found, spots, labels)
    for node in reversed(found.nodes):  # targets lie on top
        label = labels.get(node.name, node.name)
        x, y = spots[node.name]
        number = numbers[node.name]
        stop = f'id="node-{number}" data-at="{x} {y}" tabindex="{-1 if number else 0}"'
        reached = f' {stop} role="img" aria-label={quoteattr(_told(node, label))}'
        out.append(_drawn(node, x, y, label, texts.get(node.name, ""), "" if standalone else reached))
    return "".join([*out, "</svg>"])


def _size(node: Node) -> float:
    return round(5 + min(9, 2 * math.log2(1 + node.total)) * 0.8, 1)


def _labelled(
    found: Graph, spots: Mapping[str, tuple[float, float]], labels: Mapping[str, str]
) -> dict[str, str]:
    """Write the names of targets, and of what several share, where no other name and no named node lies.

    A name stands right of its node, left, below or above; where there is no room it is left to the title and the table.
    """
    shared = [n for n in found.nodes if n.kind != "target" and len(n.links) > 1][:_MOST_LABELS]
    named = [n for n in found.nodes if n.kind == "target"] + shared
    taken = []
    for node in named:
        (x, y), size = spots[node.name], _size(node)
        taken.append((x - size, y - size, x + size, y + size))
    texts = {}
    for node in named:
        (x, y), gap = spots[node.name], _size(node) + 4
        label = labels.get(node.name, node.name)
        wide, high = _CHARACTER * len(label), _LINE
        for anchor, at, base in (
            ("start", x + gap, y + 4), ("end", x - gap, y + 4),
            ("middle", x, y + gap + high - 4), ("middle", x, y - gap),
        ):  # fmt: skip
            left = at - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor]
            box = (left, base - high + 3, left + wide, base + 3)
            inside = box[0] >= 0 and box[2] <= WIDTH and box[1] >= 0 and box[3] <= HEIGHT
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                middle = "" if anchor == "start" else f' text-anchor="{anchor}"'
                texts[node.name] = f'<text x="{at:.1f}" y="{base:.1f}"{middle}>{escape(label)}</text>'
                break
    return texts


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _told(node: Node, label: str) -> str:
    return f"{label}: {counted(node.total, 'communication')}, {node.kind}"


def _drawn(node: Node, x: float, y: float, label: str, text: str, reached: str) -> str:
    size = _size(node)
    cls = f'class="node {node.kind}"'
    if node.kind == "target":
        shape = f'<rect {cls} x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size}" height="{2 * size}" rx="3"/>'
    elif node.kind == "person":
        shape = f'<circle {cls} cx="{x}" cy="{y}" r="{size}"/>'
    elif node.kind == "business":
        shape = f'<path {cls} d="M{x} {y - size:.1f}l{size} {size}l-{size} {size}l-{size} -{size}z"/>'
    else:
        shape = f'<path {cls} d="M{x} {y - size:.1f}l{size} {2 * size}h-{2 * size}z"/>'
    return f"<g{reached}>{shape}<title>{escape(_told(node, label))}</title>{text}</g>"


def graphml(found: Graph, labels: Mapping[str, str]) -> str:
    """Write a graph for other tools, as GraphML (http://graphml.graphdrawing.org)."""
    out = [
        '<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">',
        '<key id="label" for="node" attr.name="label" attr.type="string"/>',
        '<key id="kind" for="node" attr.name="kind" attr.type="string"/>',
        '<key id="total" for="node" attr.name="communications" attr.type="int"/>',
        '<key id="weight" for="edge" attr.name="weight" attr.type="int"/>',
        '<graph edgedefault="undirected">',
    ]
    for node in found.nodes:
        out.append(
            f'<node id={quoteattr(node.name)}><data key="label">{escape(labels.get(node.name, node.name))}</data>'
            f'<data key="kind">{node.kind}</data><data key="total">{node.total}</data></node>'
        )
    for a, b, n in found.links:
        ends = f"source={quoteattr(a)} target={quoteattr(b)}"
        out.append(f'<edge {ends}><data key="weight">{n}</data></edge>')
    return "\n".join([*out, "</graph>", "</graphml>", ""])
