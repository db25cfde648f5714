"""Decode: the raw values of a batch become one frame of text columns, one per declared field.

All values are parsed in one call (`\\n`-joined newline-delimited JSON with the format's explicit schema; every leaf is
read as text, so that a wrong type is found by its own column and not by failing its neighbours). Values that could
shift rows against offsets are taken out first; when the call fails all the same, halves of the batch are tried until
the values at fault stand alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
import polars as pl

from schemas.format import Format
from streams.batch import Reason, Reject

ROW = "_row"
INDEX = "_index"
_SPLIT = 16
_SCANNED = 4_096  # a failing part no larger than this is looked through value by value


@dataclass(frozen=True, slots=True)
class Decoded:
    """`frame`: `_row` (place in the batch), `_index` (place in the envelope or null), then every declared path as String.

    Rows are in the order of the batch. `rejects` are the values (and envelope elements) that are not in it.
    """

    frame: pl.DataFrame
    rejects: list[Reject]


def decode(values: Sequence[bytes | None], fmt: Format, max_bytes: int) -> Decoded:
    """Parse the values of a batch; every value ends in the frame or among the rejects, none in both."""
    rejects: list[Reject] = []
    kept, rows = _take_out(values, max_bytes, rejects)
    if fmt.encoding == "csv":
        from streams.delimited import to_json

        kept, rows = to_json(kept, rows, fmt, rejects)
    broken: Broken = {}
    parsed = _parse(kept, rows, fmt, rejects, broken)
    frame = _flatten(pl.concat(parsed) if parsed else _nothing(fmt), fmt, rejects, broken)
    return Decoded(_refuse_nul(frame, kept, rejects), rejects)


def _take_out(
    values: Sequence[bytes | None], max_bytes: int, rejects: list[Reject]
) -> tuple[list[bytes], np.ndarray[Any, Any]]:
    """Set aside what is no single line of a usable size."""
    if None not in values:
        whole: list[bytes] = values  # type: ignore[assignment]  # no None in it
        lengths = list(map(len, whole))
        if whole and min(lengths) > 0 and max(lengths) <= max_bytes and b"\n" not in b"".join(whole):
            return whole, np.arange(len(whole), dtype=np.int64)
    kept: list[bytes] = []
    rows: list[int] = []
    for row, value in enumerate(values):
        if reason := _unusable(value, max_bytes):
            rejects.append(Reject(row, None, reason))
        else:
            assert value is not None  # noqa: S101  (for the type checker: None is a tombstone)
            kept.append(value)
            rows.append(row)
    return kept, np.array(rows, dtype=np.int64)


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


Broken = dict[tuple[int, int], Reject]
"""Elements of envelopes that cannot be parsed, by (row, index); their neighbours can."""


def _parse(
    values: list[bytes], rows: np.ndarray[Any, Any], fmt: Format, rejects: list[Reject], broken: Broken
) -> list[pl.DataFrame]:
    if not values:
        return []
    try:
        frame = pl.read_ndjson(b"\n".join(values), schema=parse_schema(fmt))
        if frame.height == len(values):
            return [frame.with_columns(pl.Series(ROW, rows))]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        pass
    if 1 < len(values) <= _SCANNED:
        sound = [at for at, value in enumerate(values) if _is_sound(value, fmt)]
        if len(sound) < len(values):
            ill = sorted(set(range(len(values))) - set(sound))
            frames = _parse([values[at] for at in sound], rows[sound], fmt, rejects, broken)
            for at in ill:
                frames += _parse([values[at]], rows[[at]], fmt, rejects, broken)
            return frames
    if len(values) == 1:
        row = int(rows[0])
        if mended := _without_broken_elements(values[0], row, fmt, broken):
            return _parse([mended], rows, fmt, rejects, broken)
        reason, detail = diagnose(values[0], fmt)
        rejects.append(Reject(row, None, reason, detail))
        return []
    step = max(1, -(-len(values) // _SPLIT))
    frames = []
    for start in range(0, len(values), step):
        part = slice(start, start + step)
        frames += _parse(values[part], rows[part], fmt, rejects, broken)
    return frames


def _is_sound(value: bytes, fmt: Format) -> bool:
    """Whether a value looks as if the parser will take it; the parser has the last word."""
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError:
        return False
    if not isinstance(document, dict):
        return False
    records = document.get(fmt.envelope) if fmt.envelope else None
    if records is None:
        records = [document]
    tree = _tree(fmt)
    return isinstance(records, list) and not any(
        record is not None and (not isinstance(record, dict) or _wrong_shape(record, tree, "")) for record in records
    )


def _without_broken_elements(value: bytes, row: int, fmt: Format, broken: Broken) -> bytes | None:
    """An envelope with null in the place of every element that cannot be parsed; None where that mends nothing."""
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    records = document.get(fmt.envelope) if fmt.envelope and isinstance(document, dict) else None
    if not isinstance(records, list) or len(records) < 2 or any((row, i) in broken for i in range(len(records))):
        return None
    for index, record in enumerate(records):
        alone = orjson.dumps(record)
        try:
            if record is None:
                continue
            pl.read_ndjson(alone, schema=parse_schema(fmt))
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            reason, detail = diagnose(alone, fmt)
            broken[row, index] = Reject(row, index, reason, detail, None, alone)
            records[index] = None
    return orjson.dumps(document) if any((row, i) in broken for i in range(len(records))) else None


def diagnose(value: bytes, fmt: Format) -> tuple[str, str | None]:
    """Why one value cannot be parsed: (reason, detail); the detail names a declared field, never a value."""
    if value.isspace():
        return Reason.BLANK, None
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return Reason.NOT_UTF8, None
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        if "recursion" in error.msg or "depth" in error.msg or _depth(value) > 1000:
            return Reason.TOO_DEEP, None
        if _is_document(text[: error.pos]) and text[error.pos :].strip():
            return Reason.TWO_DOCUMENTS, None
        return Reason.NOT_JSON, None
    if not isinstance(document, dict):
        return Reason.NOT_AN_OBJECT, None
    records = document.get(fmt.envelope) if fmt.envelope else None
    if records is not None and not isinstance(records, list):
        return Reason.WRONG_TYPE, fmt.envelope
    for record in records or [document]:
        if record is not None and not isinstance(record, dict):
            return Reason.NOT_AN_OBJECT, fmt.envelope
        if wrong := _wrong_shape(record or {}, _tree(fmt), ""):
            return Reason.WRONG_TYPE, wrong
    return (Reason.TOO_DEEP, None) if _depth(value) > 500 else (Reason.NOT_JSON, None)


def _is_document(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _depth(value: bytes) -> int:
    return max(value.count(b"["), value.count(b"{"))


def _wrong_shape(record: dict[str, Any], tree: dict[str, Any], prefix: str) -> str | None:
    """The declared path that should be an object (or a list) and is not."""
    for name, below in tree.items():
        value = record.get(name.removesuffix("[]"))
        if below is None or value is None:
            continue
        path = f"{prefix}{name}"
        if name.endswith("[]"):
            if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
                return path
        elif not isinstance(value, dict):
            return path
        elif wrong := _wrong_shape(value, below, f"{path}."):
            return wrong
    return None


@lru_cache(maxsize=256)
def parse_schema(fmt: Format) -> pl.Schema:
    """The explicit schema a batch is parsed with: declared paths only, every leaf a String."""
    fields = {name.removesuffix("[]"): _dtype(name, below) for name, below in _tree(fmt).items()}
    schema = dict(fields)
    if fmt.envelope:
        schema[fmt.envelope] = pl.List(pl.Struct(fields))
    return pl.Schema(schema)


@lru_cache(maxsize=256)
def _tree(fmt: Format) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for spec in fmt.fields:
        *parents, leaf = spec.path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = None
    return tree


def _dtype(name: str, below: dict[str, Any] | None) -> pl.DataType | type[pl.DataType]:
    inner: Any = pl.String
    if below is not None:
        inner = pl.Struct({n.removesuffix("[]"): _dtype(n, b) for n, b in below.items()})
    return pl.List(inner) if name.endswith("[]") else inner


def _nothing(fmt: Format) -> pl.DataFrame:
    return pl.DataFrame(schema={**parse_schema(fmt), ROW: pl.Int64})


def _flatten(frame: pl.DataFrame, fmt: Format, rejects: list[Reject], broken: Broken) -> pl.DataFrame:
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
    rejects += [Reject(row, None, Reason.EMPTY_ENVELOPE) for row in empty.get_column(ROW)]
    opened = (
        wrapped.filter(pl.col("_record").list.len() > 0)
        .with_columns(pl.int_ranges(0, pl.col("_record").list.len(), dtype=pl.Int32).alias(INDEX))
        .explode("_record", INDEX)
    )
    absent = opened.filter(pl.col("_record").is_null())
    for place in absent.select(ROW, INDEX).rows():
        rejects.append(broken.get(place) or Reject(*place, Reason.NOT_AN_OBJECT, value=b"null"))
    opened = opened.filter(pl.col("_record").is_not_null()).select(ROW, INDEX, pl.col("_record").struct.unnest())
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


def _refuse_nul(frame: pl.DataFrame, values: list[bytes], rejects: list[Reject]) -> pl.DataFrame:
    """The parser turns half a surrogate pair into NUL; a record that holds either would be stored altered."""
    joined = b"".join(values).lower()
    if b"\\u0000" not in joined and b"\\ud" not in joined:
        return frame
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    bad = frame.select(pl.any_horizontal(pl.col(texts).str.contains("\0", literal=True).fill_null(False))).to_series()
    for row, index in frame.filter(bad).select(ROW, INDEX).rows():
        rejects.append(Reject(row, index, Reason.BAD_UNICODE))
    return frame.filter(~bad)
