"""Decode: the raw values of a batch become one frame of text columns, one per declared field.

All values are parsed in one call (`\\n`-joined newline-delimited JSON with the format's explicit schema; every leaf is
read as text, so that a wrong type is found by its own column and not by failing its neighbours). Values that could
shift rows against offsets are taken out first. When the call fails all the same, the values at fault are sifted out
and told apart one by one; the rest is parsed again in one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from integrity.canonical import CanonicalError, parse
from schemas.format import Format
from streams.batch import Reason, Reject
from streams.delimited import to_json
from streams.diagnose import diagnose, is_sound, tree
from streams.sift import Mask, misread, sound_syntax

ROW: Final = "_row"
INDEX: Final = "_index"
_PARTS: Final = 16
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Decoded:
    """`frame`: `_row` (place in the batch), `_index` (in the envelope, or null), then each declared path as String.

    Rows are in the order of the batch. `rejects` are the values (and envelope elements) that are not in it.
    """

    frame: pl.DataFrame
    rejects: list[Reject]


@dataclass(slots=True)
class _Faults:
    """What was found at fault: whole values, and elements of envelopes, by (row, index), whose neighbours are fine."""

    rejects: list[Reject] = field(default_factory=list)
    elements: dict[tuple[int, int], Reject] = field(default_factory=dict)


def decode(values: Sequence[bytes | None], fmt: Format, max_bytes: int) -> Decoded:
    """Parse the values of a batch; every value ends in the frame or among the rejects, none in both."""
    faults = _Faults()
    kept, rows, joined = _take_out(values, max_bytes, faults.rejects)
    if fmt.encoding == "csv":
        kept, rows = to_json(kept, rows, fmt, faults.rejects)
        joined = b"\n".join(kept)
    parsed = _parse(kept, rows, fmt, faults, joined)
    frame = pl.concat(parsed) if parsed else _nothing(fmt)
    if len(parsed) > 1:
        frame = frame.sort(ROW)
    frame = _flatten(frame, fmt, faults)
    # Nothing else reads as NUL. One byte is found at once, two take long.
    if (b"\\" in joined and b"\\u" in joined) or b"\0" in joined:
        frame = _refuse_nul(frame, faults.rejects)
    return Decoded(frame, faults.rejects)


def _take_out(
    values: Sequence[bytes | None], max_bytes: int, rejects: list[Reject]
) -> tuple[list[bytes], Rows, bytes]:
    """Set aside what is no single line of a usable size; returns what is left, its rows, and it joined by newlines."""
    if None not in values:
        whole: list[bytes] = values if isinstance(values, list) else list(values)  # type: ignore[arg-type]  # no None in it
        lengths = list(map(len, whole))
        if whole and min(lengths) > 0 and max(lengths) <= max_bytes:
            joined = b"\n".join(whole)
            # A blank value is no value to the parser, which would shift every row behind it.
            if joined.count(b"\n") == len(whole) - 1 and not any(map(bytes.isspace, whole)):
                return whole, np.arange(len(whole), dtype=np.int64), joined
    kept: list[bytes] = []
    rows: list[int] = []
    for row, value in enumerate(values):
        if reason := _unusable(value, max_bytes):
            rejects.append(Reject(row, None, reason))
        else:
            assert value is not None  # noqa: S101  (for the type checker: None is a tombstone)
            kept.append(value)
            rows.append(row)
    return kept, np.array(rows, dtype=np.int64), b"\n".join(kept)


def _unusable(value: bytes | None, max_bytes: int) -> str | None:
    if value is None:
        return Reason.TOMBSTONE
    if not value:
        return Reason.EMPTY
    if len(value) > max_bytes:
        return Reason.TOO_LARGE
    if value.isspace():
        return Reason.BLANK
    if b"\n" in value:
        return Reason.NEWLINE
    return None


def _parse(
    values: list[bytes], rows: Rows, fmt: Format, faults: _Faults, joined: bytes, sifted: bool = False
) -> list[pl.DataFrame]:
    """Frames of everything that can be parsed; what cannot is explained among the faults."""
    if not values:
        return []
    frame = _read(joined, len(values), fmt)
    if frame is not None:
        return [frame.with_columns(pl.Series(ROW, rows))]
    if len(values) == 1:
        return _explain([(values[0], int(rows[0]))], fmt, faults)
    ill: list[tuple[bytes, int]] = []
    if not sifted:
        values, rows, joined = _set_aside(sound_syntax(values, joined, fmt), values, rows, ill)
    # Whatever has another shape than declared is left out now, as if it were not there: those rows are not used.
    frame = _read(joined, len(values), fmt, lenient=True)
    if frame is not None:
        wrong = misread(frame, values, joined, fmt)
        frame = frame.with_columns(pl.Series(ROW, rows)).filter(pl.Series(~wrong, dtype=pl.Boolean))
        _set_aside(~wrong, values, rows, ill)
        return [frame, *_explain(ill, fmt, faults)]
    frames: list[pl.DataFrame] = []
    step = max(1, -(-len(values) // _PARTS))  # something only the parser knows of: close in on it
    for start in range(0, len(values), step):
        part = slice(start, start + step)
        frames += _parse(values[part], rows[part], fmt, faults, b"\n".join(values[part]), sifted=True)
    return frames + _explain(ill, fmt, faults)


def _set_aside(
    sound: Mask, values: list[bytes], rows: Rows, ill: list[tuple[bytes, int]]
) -> tuple[list[bytes], Rows, bytes]:
    """The sound values, their rows, and joined; the others are added to `ill`."""
    ill += [(values[at], int(rows[at])) for at in np.flatnonzero(~sound).tolist()]
    kept = [values[at] for at in np.flatnonzero(sound).tolist()]
    return kept, rows[sound], b"\n".join(kept)


def _read(joined: bytes, count: int, fmt: Format, lenient: bool = False) -> pl.DataFrame | None:
    try:
        frame = pl.read_ndjson(joined, schema=parse_schema(fmt), ignore_errors=lenient)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    return frame if frame.height == count else None


def _explain(ill: list[tuple[bytes, int]], fmt: Format, faults: _Faults) -> list[pl.DataFrame]:
    """A reason for each value at fault; of an envelope only the elements at fault are lost."""
    frames: list[pl.DataFrame] = []
    for value, row in ill:
        mended = _mend(value, row, fmt, faults)
        frame = _read(mended, 1, fmt) if mended is not None else None
        if frame is not None:
            frames.append(frame.with_columns(pl.Series(ROW, [row], dtype=pl.Int64)))
            continue
        for place in [place for place in faults.elements if place[0] == row]:
            del faults.elements[place]
        faults.rejects.append(Reject(row, None, *diagnose(value, fmt)))
    return frames


def _mend(value: bytes, row: int, fmt: Format, faults: _Faults) -> bytes | None:
    """An envelope with null in the place of every element that cannot be parsed; None where that mends nothing."""
    try:
        document: Any = parse(value) if fmt.envelope else {}
    except CanonicalError:
        return None  # it could be read in two ways: it is refused whole
    records = document.get(fmt.envelope)
    if not isinstance(records, list) or len(records) < 2:
        return None
    mended = False
    for index, record in enumerate(records):
        alone = orjson.dumps(record)
        if record is None or is_sound(alone, fmt):
            continue
        faults.elements[row, index] = Reject(row, index, *diagnose(alone, fmt), None, alone)
        records[index] = None
        mended = True
    return orjson.dumps(document) if mended else None


@lru_cache(maxsize=256)
def parse_schema(fmt: Format) -> pl.Schema:
    """The explicit schema a batch is parsed with: declared paths only, every leaf a String."""
    fields = {name.removesuffix("[]"): _dtype(name, below) for name, below in tree(fmt).items()}
    schema = dict(fields)
    if fmt.envelope:
        schema[fmt.envelope] = pl.List(pl.Struct(fields))
    return pl.Schema(schema)


def _dtype(name: str, below: dict[str, Any] | None) -> pl.DataType | type[pl.DataType]:
    inner: Any = pl.String
    if below is not None:
        inner = pl.Struct({n.removesuffix("[]"): _dtype(n, b) for n, b in below.items()})
    return pl.List(inner) if name.endswith("[]") else inner


def _nothing(fmt: Format) -> pl.DataFrame:
    return pl.DataFrame(schema={**parse_schema(fmt), ROW: pl.Int64})


def _flatten(frame: pl.DataFrame, fmt: Format, faults: _Faults) -> pl.DataFrame:
    """Open envelopes and name every leaf by its declared path."""
    leaves = [_leaf(spec.path) for spec in fmt.fields]
    if not fmt.envelope:
        return frame.select(ROW, pl.lit(None, pl.Int32).alias(INDEX), *leaves)
    listed = frame.get_column(fmt.envelope)
    if listed.null_count() == frame.height:
        return frame.select(ROW, pl.lit(None, pl.Int32).alias(INDEX), *leaves)
    alone = frame.filter(listed.is_null()).select(ROW, pl.lit(None, pl.Int32).alias(INDEX), *leaves)
    wrapped = frame.filter(listed.is_not_null()).select(ROW, pl.col(fmt.envelope).alias("_record"))
    empty = wrapped.filter(pl.col("_record").list.len() == 0)
    faults.rejects += [Reject(row, None, Reason.EMPTY_ENVELOPE) for row in empty.get_column(ROW)]
    opened = (
        wrapped.filter(pl.col("_record").list.len() > 0)
        .with_columns(pl.int_ranges(0, pl.col("_record").list.len(), dtype=pl.Int32).alias(INDEX))
        .explode("_record", INDEX)
    )
    absent = opened.filter(pl.col("_record").is_null())
    for row, index in absent.select(ROW, INDEX).rows():
        found = faults.elements.get((row, index))
        faults.rejects.append(found or Reject(row, index, Reason.NOT_AN_OBJECT, None, None, b"null"))
    opened = opened.filter(pl.col("_record").is_not_null()).select(
        ROW, INDEX, pl.col("_record").struct.unnest()
    )
    return pl.concat([alone, opened.select(ROW, INDEX, *leaves)]).sort(ROW, INDEX, nulls_last=False)


def _leaf(path: str) -> pl.Expr:
    first, *rest = path.split(".")
    expr = pl.col(first.removesuffix("[]"))
    if first.endswith("[]"):
        inner = pl.element()
        for name in rest:
            inner = inner.struct.field(name)
        return expr.list.eval(inner).alias(path) if rest else expr.alias(path)
    for name in rest:
        expr = expr.struct.field(name)
    return expr.alias(path)


def _refuse_nul(frame: pl.DataFrame, rejects: list[Reject]) -> pl.DataFrame:
    """The parser turns half a surrogate pair into NUL; a record that holds either would be stored altered."""
    nul = [
        (pl.col(name) if dtype == pl.String else pl.col(name).list.join("")).str.contains("\0", literal=True)
        for name, dtype in frame.schema.items()
        if dtype in (pl.String, pl.List(pl.String))
    ]
    bad = frame.select(pl.any_horizontal(nul).fill_null(False).alias("bad")).to_series()
    if not bad.any():
        return frame
    for row, index in frame.filter(bad).select(ROW, INDEX).rows():
        rejects.append(Reject(row, index, Reason.BAD_UNICODE))
    return frame.filter(~bad)
