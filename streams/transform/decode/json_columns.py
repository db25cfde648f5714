"""Read JSON texts as columns, one per declared path: by the column and never one by one.

Objects inside a record (a status, a price) are few and say the same again and again: they are taken out as text, and
only their distinct texts are read further. Where a path lies in such an object, the distinct values and the row each
record uses are returned beside the column, so that whatever is derived from it is derived once.

Every leaf is read as text. Of equal names the first one counts; a number keeps the shortest spelling that gives it
back (one too large for 64 bits, its own); null and an absent name are the same.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import pyarrow as pa

from lethe.schemas.compiled import native
from lethe.schemas.declaration.format import bare

Mask = npt.NDArray[np.bool_]
Shape = dict[str, Any]
"""Declared names of one level: a leaf is None, an object the shape below; `name[]` is a list of either, `name[0]` the
first of one (or what stands there alone)."""

_TEXT: Final = "VARCHAR"
_JSON: Final = "JSON"
_local = threading.local()
_code: Final = native()


class NotJsonError(Exception):
    """Some text of the column is no JSON; `valid` tells which are. Quotes nothing."""


@dataclass(frozen=True, slots=True)
class Coded:
    """A column as a table of distinct values: row i holds `values[codes[i]]`, null where the code is null."""

    codes: pl.Series = field(repr=False)  # UInt32
    values: pl.Series = field(repr=False)


@dataclass(slots=True)
class JsonColumns:
    """`columns`: path -> String (or List(String)), one value a text. `coded`: the same for paths inside of objects.

    `wrong`: texts that hold something else where the shape has an object or a list.
    """

    columns: dict[str, pl.Series] = field(default_factory=dict)
    coded: dict[str, Coded] = field(default_factory=dict)
    wrong: Mask = field(default_factory=lambda: np.zeros(0, np.bool_))


@dataclass(frozen=True, slots=True)
class _Level:
    """Texts still to be read: those of the objects at `prefix`, and which of them each record holds."""

    prefix: str
    texts: pa.LargeStringArray
    shape: Shape
    codes: pl.Series | None  # None: of each record its own


def read_columns(texts: pa.LargeStringArray, shape: Shape) -> JsonColumns:
    """Read the declared paths of JSON objects. Raises `NotJsonError` when one of the texts cannot be read."""
    out = JsonColumns(wrong=np.zeros(len(texts), np.bool_))
    levels = [_Level("", texts, shape, None)]
    while levels:
        levels = [below for level, table in _read(levels) for below in _sort_in(level, table, out)]
    return out


def valid(texts: pa.LargeStringArray) -> Mask:
    """Return which of the texts `read_columns` can read."""
    table = _connection().from_arrow(pa.table({"v": texts})).project("coalesce(json_valid(v), false) AS ok")
    found: Mask = table.to_arrow_table().column("ok").to_numpy()
    return found


def opened(texts: pa.LargeStringArray, name: str) -> tuple[pl.Series, Mask]:
    """Read the list under a name of each object, as JSON texts of its elements, null where there is none; List(String).

    And which objects have something else than a list there (as if it were empty). Raises as `read_columns`.
    """
    found = series(_transformed(texts, {name: _JSON}).combine_chunks().field(name))
    other = (~found.str.starts_with("[")).fill_null(False)
    lists = _list_column(found.set(other, "[]").to_arrow().cast(pa.large_string()), _JSON)
    return lists, other.to_numpy()


def _sort_in(level: _Level, table: dict[str, pa.Array], out: JsonColumns) -> Iterator[_Level]:
    """Keep the leaves of one level and return what is to be read below it."""
    for name, below in level.shape.items():
        plain, path = bare(name), f"{level.prefix}{name}"
        if name == plain and below is None:
            _keep(out, path, level.codes, series(table[plain]))
            continue
        coded = table[plain].dictionary_encode()
        distinct: pa.LargeStringArray = coded.dictionary
        codes = series(coded.indices).cast(pl.UInt32)
        if name.endswith("[0]"):
            distinct, codes = _firsts(distinct, below, codes)
            if below is None:
                _keep(out, path, _through(level.codes, codes), series(distinct))
                continue
        opening = "[" if name.endswith("[]") else "{"
        other = ~series(distinct).str.starts_with(opening)
        if other.any():
            where = _through(level.codes, other[codes]).fill_null(False)
            out.wrong |= where.to_numpy()
            distinct = series(distinct).set(other, opening + ("}" if opening == "{" else "]")).to_arrow()
        codes = _through(level.codes, codes)
        if opening == "{":
            yield _Level(f"{path}.", distinct.cast(pa.large_string()), below, codes)
        else:
            for leaf, values, odd in _lists(path, distinct.cast(pa.large_string()), below):
                _keep(out, leaf, codes, values)
                out.wrong |= odd[codes].fill_null(False).to_numpy()


def _keep(out: JsonColumns, path: str, codes: pl.Series | None, values: pl.Series) -> None:
    if codes is None:
        out.columns[path] = values.alias(path)
    else:
        out.coded[path] = Coded(codes, values)
        out.columns[path] = values[codes].alias(path)


def _through(outer: pl.Series | None, inner: pl.Series) -> pl.Series:
    """Return what each record holds of what each object holds."""
    return inner if outer is None else inner[outer]


def _lists(
    path: str, texts: pa.LargeStringArray, below: Shape | None
) -> Iterator[tuple[str, pl.Series, pl.Series]]:
    """Read the leaves in JSON arrays, as lists of texts; and say which arrays hold something else than the shape
    says.
    """
    if below is None:
        lists = _list_column(texts, _TEXT)
        yield path, lists, pl.Series([False]).new_from_index(0, len(lists))
        return
    lists = _list_column(texts, _JSON)
    opened = pl.DataFrame({"at": np.arange(len(lists), dtype=np.uint32), "text": lists}).explode("text")
    elements = opened.drop_nulls("text")
    other = ~elements.get_column("text").str.starts_with("{")
    elements = elements.with_columns(elements.get_column("text").set(other, "{}"))
    inner = read_columns(elements.get_column("text").to_arrow().cast(pa.large_string()), below)
    odd = elements.get_column("at").filter(pl.Series(inner.wrong) | other).unique().implode()
    ats = pl.Series(np.arange(len(lists), dtype=np.uint32))
    for leaf, values in inner.columns.items():
        rows = pl.DataFrame({"at": elements.get_column("at"), "v": values})
        if isinstance(values.dtype, pl.List):  # a list in a list: all that is in any of them
            rows = rows.explode("v").drop_nulls("v")
        gathered = rows.group_by("at", maintain_order=True).agg("v")
        column = ats.to_frame("at").join(gathered, on="at", how="left", maintain_order="left").get_column("v")
        empty = lists.is_not_null() & column.is_null()
        column = pl.select(
            pl.when(empty).then(pl.lit([], dtype=pl.List(pl.String))).otherwise(column)
        ).to_series()
        yield f"{path}.{leaf}", column, ats.is_in(odd)


def _firsts(
    distinct: pa.LargeStringArray, below: Shape | None, codes: pl.Series
) -> tuple[pa.LargeStringArray, pl.Series]:
    """Return the first elements of JSON lists, and the codes of them; of what is no list itself."""
    texts = series(distinct)
    other = ~texts.str.starts_with("[")
    kind = _TEXT if below is None else _JSON
    firsts = _list_column(texts.set(other, "[]").to_arrow().cast(pa.large_string()), kind).list.first()
    if other.any():
        alone = series(_transformed(pa.array([f'{{"v":{t}}}' for t in texts.filter(other)], pa.large_string()),
                                    {"v": kind}).combine_chunks().field("v"))  # fmt: skip
        firsts = firsts.scatter(other.arg_true(), alone)
    coded = firsts.to_arrow().cast(pa.large_string()).dictionary_encode()
    return coded.dictionary, series(coded.indices).cast(pl.UInt32)[codes]


def _list_column(texts: pa.LargeStringArray, leaf: str) -> pl.Series:
    return series(_transformed(texts, [leaf]).combine_chunks())


def _read(levels: list[_Level]) -> Iterator[tuple[_Level, dict[str, pa.Array]]]:
    """Read levels, in one call for those that go together: what a call costs at least, it costs a small batch too."""
    for group in _compatible(levels):
        names: dict[str, str] = {}
        for level in group:
            names |= _types(level.shape)
        texts = group[0].texts if len(group) == 1 else pa.concat_arrays([level.texts for level in group])
        columns = _transformed(texts, names).combine_chunks()
        start = 0
        for level in group:
            part = columns.slice(start, len(level.texts))
            yield level, {name: part.field(name) for name in _types(level.shape)}
            start += len(level.texts)


def _compatible(levels: list[_Level]) -> Iterator[list[_Level]]:
    """Group levels, or parts of them, that can be read together: no name is a leaf here and an object there, and none
    differs
    from another by case alone.
    """
    waiting = levels
    while waiting:
        together: list[_Level] = []
        rest: list[_Level] = []
        types: dict[str, str] = {}
        folded: dict[str, str] = {}
        for level in waiting:
            fits: Shape = {}
            others: Shape = {}
            for name, below in level.shape.items():
                ((plain, kind),) = _types({name: below}).items()
                same = folded.setdefault(plain.casefold(), plain) == plain
                (fits if same and types.setdefault(plain, kind) == kind else others)[name] = below
            if fits:
                together.append(replace(level, shape=fits))
            if others:
                rest.append(replace(level, shape=others))
        yield together
        waiting = rest


def _types(shape: Shape) -> dict[str, str]:
    return {
        bare(name): _TEXT if below is None and bare(name) == name else _JSON for name, below in shape.items()
    }


def _transformed(texts: pa.LargeStringArray, structure: dict[str, str] | list[str]) -> pa.ChunkedArray:
    quoted = orjson.dumps(structure).decode().replace("'", "''")
    try:
        table = (
            _connection()
            .from_arrow(pa.table({"v": texts}))
            .project(f"json_transform(v, '{quoted}') AS r")  # of declared names only, quoted
            .to_arrow_table()
        )
    except (duckdb.Error, UnicodeDecodeError):
        # The text quotes what was read, and cuts it in the middle of a character: then that is the error.
        failed = True
    else:
        return table.column("r")
    if failed:
        raise NotJsonError


def series(values: pa.Array) -> pl.Series:
    """Wrap an Arrow array as a series, without a copy."""
    found = pl.from_arrow(values)
    assert isinstance(found, pl.Series)  # noqa: S101
    return found


def _connection() -> Any:
    """Return this thread's own empty database; nothing is ever stored in it."""
    found = getattr(_local, "connection", None)
    if found is None:
        settings: dict[str, Any] = {
            "threads": 1,
            "arrow_large_buffer_size": True,
            "enable_external_access": False,
            "temp_directory": "",  # short of memory it would write what it reads to disk, identifiers and all
        }
        found = duckdb.connect(":memory:", config=settings)
        _local.connection = found
    return found


def joined(values: Iterable[bytes]) -> tuple[pa.LargeStringArray, bytes]:
    """Join values to one column over one buffer, returned too. They must be UTF-8 before it is used as text."""
    found = joined_if(values if isinstance(values, list) else list(values), 0, sys.maxsize)
    assert found is not None  # noqa: S101  (any size will do)
    return found


def joined_if(
    values: list[bytes] | list[bytes | None], least: int, most: int
) -> tuple[pa.LargeStringArray, bytes] | None:
    """Do the same as `joined`; return None if a value is None, or has fewer than `least` or more than `most` bytes."""
    ends = np.zeros(len(values) + 1, np.int64)
    data = (_joined_if if _code is None else _code.joined)(values, ends, least, most)
    if data is None:
        return None
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_string(), len(values), buffers), data


def _joined_if(
    values: Sequence[bytes | None], ends: npt.NDArray[np.int64], least: int, most: int
) -> bytes | None:
    """Do what the compiled code does, without it."""
    there = [value for value in values if value is not None]
    if len(there) < len(values) or any(not least <= len(value) <= most for value in there):
        return None
    np.cumsum(np.fromiter(map(len, there), np.int64, len(there)), out=ends[1:])
    return b"".join(there)
