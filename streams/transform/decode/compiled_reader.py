"""Read records in the usual spelling in one pass in C (`native/reader.c`); `json_columns` reads the rest.

Nearly all records are objects whose names have no escapes and come once, with texts, short numbers and no lists where
something is declared. Of these every leaf can be found by looking at each byte once, strictly (RFC 8259, UTF-8, no half
surrogate pair, no NUL), and be left where it lies. A record that is anything else is not taken, and costs what it did.

What is taken gives the same texts as `read_columns`: which of the two has read a record cannot be told from the
outcome.
Without a C compiler at installation there is no compiled code; then nothing is taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from lethe.schemas.compiled import native
from lethe.schemas.declaration.format import bare
from lethe.schemas.flat import ends_of
from lethe.streams.transform.decode.json_columns import Coded, Mask, Shape

Views = npt.NDArray[np.uint8]
_VIEW: Final = 16  # bytes of a string view
_MOST_BYTES: Final = 2**31 - 1  # views have 32 bits for where a text lies


_reader: Final = native()


@dataclass(slots=True)
class Plain:
    """`taken`: the values that were read, n. `columns`, `coded`: as of `JsonColumns`, for all n.

    Rows of values that are not taken hold anything. A column is coded where it has few distinct values.
    """

    taken: Mask
    columns: dict[str, pl.Series]
    coded: dict[str, Coded]


@dataclass(frozen=True, slots=True)
class _Plan:
    """Objects of a shape by number, each with its members; `leaves`: their paths by number; `lists`: paths of lists."""

    nodes: list[list[tuple[bytes, int, int]]]
    leaves: list[str]
    lists: list[str]


def read_plain(texts: pa.LargeStringArray, data: bytes, shape: Shape, envelope: str | None) -> Plain | None:
    """Read the values, texts over `data`, that are in the usual spelling; None where nothing can be read this way.

    Values with a name `envelope` are not taken.
    """
    if _reader is None or len(data) > _MOST_BYTES or not len(texts):
        return None
    plan = _plan(shape, envelope)
    if plan is None:
        return None
    count, leaves, bitmap = len(texts), len(plan.leaves), (len(texts) + 7) // 8
    taken = np.zeros(count, np.bool_)
    arena = np.empty(len(data), np.uint8)  # texts without their escapes: mostly none of it is touched
    views = np.zeros((leaves, count, _VIEW), np.uint8)
    valid = np.zeros((leaves, bitmap), np.uint8)
    codes = np.zeros((leaves, count), np.uint32)
    firsts = np.zeros((leaves, _reader.MOST_DISTINCT), np.uint32)
    ends = ends_of(texts)
    used, distinct = _reader.read(plan.nodes, leaves, data, ends, taken, arena, views, valid, codes, firsts)
    buffers = [pa.py_buffer(data), pa.py_buffer(arena[:used].tobytes())]

    def column(own: Views, nulls: pa.Buffer | None) -> pa.Array:
        return pa.Array.from_buffers(pa.string_view(), len(own), [nulls, pa.py_buffer(own), *buffers])

    nulls = [pa.py_buffer(bits) for bits in valid]
    few = [number for number in range(leaves) if distinct[number] >= 0]
    numbers = [pa.Array.from_buffers(pa.uint32(), count, [nulls[n], pa.py_buffer(codes[n])]) for n in few]
    words = [np.empty((0, _VIEW), np.uint8), *(views[n, firsts[n, : distinct[n]]] for n in few)]
    bounds = np.cumsum([0, *(distinct[n] for n in few)]).tolist()
    # All at once: what Polars does for each array costs more than what is in it.
    columns = dict(zip(plan.leaves, _series(map(column, views, nulls), plan.leaves), strict=True))
    (values,) = _series([column(np.concatenate(words), None)], [""])
    coded = {
        which.name: Coded(which, values[start:end].alias(which.name))
        for which, (start, end) in zip(
            _series(numbers, [plan.leaves[n] for n in few]), pairwise(bounds), strict=True
        )
    }
    for path in plan.lists:
        columns[path] = pl.Series(path, [None], dtype=pl.List(pl.String)).new_from_index(0, count)
    return Plain(taken, columns, coded)


def _series(arrays: Iterable[pa.Array], names: list[str]) -> list[pl.Series]:
    return pl.DataFrame(pa.RecordBatch.from_arrays([*arrays], names=names)).get_columns() if names else []


def _plan(shape: Shape, envelope: str | None) -> _Plan | None:
    """Lay out a shape for the reader; None where a name stands for two things, or where there are more names than the
    reader has room for.
    """
    plan = _Plan([], [], [])
    _node(plan, shape, "")
    if envelope:
        root = [member for member in plan.nodes[0] if member[0] != envelope.encode()]
        plan.nodes[0][:] = [*root, (envelope.encode(), _reader.NEVER, 0)]
    fits = len(plan.nodes) <= _reader.MOST_NODES and len(plan.leaves) <= _reader.MOST_LEAVES
    for members in plan.nodes:
        fits &= len({name for name, _, _ in members}) == len(members) <= _reader.MOST_MEMBERS
    return plan if fits else None


def _node(plan: _Plan, shape: Shape, prefix: str) -> int:
    """Add an object and what is below it; return its number."""
    members: list[tuple[bytes, int, int]] = []
    number = len(plan.nodes)
    plan.nodes.append(members)
    for name, below in shape.items():
        path = f"{prefix}{name}"
        first = _reader.FIRST if name.endswith("[0]") else 0
        if name.endswith("[]"):
            plan.lists.extend([path] if below is None else _leaves(below, f"{path}."))
            members.append((bare(name).encode(), _reader.LIST, 0))
        elif below is None:
            members.append((bare(name).encode(), _reader.LEAF | first, len(plan.leaves)))
            plan.leaves.append(path)
        else:
            members.append((bare(name).encode(), _reader.OBJECT | first, _node(plan, below, f"{path}.")))
    return number


def _leaves(shape: Shape, prefix: str) -> list[str]:
    found: list[str] = []
    for name, below in shape.items():
        found += [f"{prefix}{name}"] if below is None else _leaves(below, f"{prefix}{name}.")
    return found
