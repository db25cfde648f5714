"""Decode the raw values of a batch into one frame of text columns, one per declared field.

1. Values of no usable size are taken out. Where a format says that records are in another shape than JSON objects,
   each is taken out of its value (`lethe.streams.transform.decode.reshape`).
2. Records in the usual spelling are read at once (`lethe.streams.transform.decode.compiled_reader`). For the others,
   if there are any:
3. Values that are no single line, and those that are no JSON object, are rejected, each by itself alone
   (`lethe.streams.transform.decode.json_validation`).
4. Envelopes are opened: every record in one becomes a text of its own.
5. All texts are read by the column (`lethe.streams.transform.decode.json_columns`); where one has another shape than
   declared, it is rejected.
6. Both are put together in the order of the batch.

Every leaf is read as text, so that a wrong type is found by its own column and not by failing its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import pyarrow as pa

from lethe.integrity.rows.canonical_json import CanonicalError, parse
from lethe.schemas.declaration.format import Format
from lethe.streams.transform.batch import Reason, Reject
from lethe.streams.transform.decode.compiled_reader import read_plain
from lethe.streams.transform.decode.delimited import to_json
from lethe.streams.transform.decode.diagnose import diagnose, tree
from lethe.streams.transform.decode.json_columns import (
    Coded,
    Mask,
    NotJsonError,
    joined,
    joined_if,
    opened,
    read_columns,
)
from lethe.streams.transform.decode.json_validation import readable
from lethe.streams.transform.decode.log_lines import cut_lines
from lethe.streams.transform.decode.reshape import MARK, Shapeless, plain, taken_apart

ROW: Final = " row"  # no declared path has a space in it
INDEX: Final = " index"
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Decoded:
    """`frame`: `ROW` (place in the batch), `INDEX` (in the envelope, or null), then each declared path as String.

    Rows are in the order of the batch. `coded`: columns of the frame that have few distinct values, as tables of them.
    `rejects` are the values (and envelope elements) that are not in the frame.
    """

    frame: pl.DataFrame
    rejects: list[Reject]
    coded: dict[str, Coded] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Values:
    """Values still in the running, in the order of the batch: their rows, and all of them as one column."""

    values: list[bytes]
    rows: Rows
    texts: pa.LargeStringArray
    data: bytes

    @classmethod
    def of(cls, values: list[bytes], rows: Rows) -> _Values:
        return cls(values, rows, *joined(values))

    @property
    def escaped(self) -> bool:
        """Tell whether there is a backslash anywhere: one byte is found in no time."""
        return b"\\" in self.data

    def only(self, which: Mask) -> _Values:
        return self.of([self.values[at] for at in np.flatnonzero(which).tolist()], self.rows[which])


@dataclass(slots=True)
class _Records:
    """The records to be read, as texts: the place of each one's value, and its own in an envelope (-1: in none).

    `faults`: elements of envelopes that are no records, as (place of the value, index).
    """

    texts: pa.LargeStringArray
    places: Rows
    indexes: Rows
    faults: list[tuple[int, int]] = field(default_factory=list)


def decode(values: Sequence[bytes | None], fmt: Format, max_bytes: int) -> Decoded:
    """Parse the values of a batch; every value ends in the frame or among the rejects, none in both."""
    rejects: list[Reject] = []
    given = _take_out(values, max_bytes, rejects)
    return _taken_apart(given, fmt, rejects) if fmt.reshaped else _read(given, fmt, rejects)


def _taken_apart(given: _Values, fmt: Format, rejects: list[Reject]) -> Decoded:
    """Take the records out of their values, read them, and put them under the rows and places they came from."""
    if fmt.separator != "\n":
        given = _single_lines(given, rejects)
    if fmt.encoding == "csv":
        lines = _unmarked(given)
        return _read(_Values.of(*to_json(lines.values, lines.rows, fmt, rejects)), plain(fmt), rejects)
    if fmt.lines:
        return _cut(_unmarked(given), fmt, rejects)
    texts: list[bytes] = []
    places: list[tuple[int, int | None]] = []
    for value, row in zip(given.values, given.rows.tolist(), strict=True):
        try:
            found = [*taken_apart(value, fmt)]
        except Shapeless as error:
            rejects.append(Reject(row, None, error.reason, error.detail))
            continue
        for index, text in found:
            if text.startswith(b"{"):
                texts.append(text)
                places.append((row, index))
            else:
                rejects.append(Reject(row, index, Reason.NOT_AN_OBJECT, None, None, text))
    if not fmt.each:
        return _read(_Values.of(texts, np.array([row for row, _ in places], np.int64)), plain(fmt), rejects)
    read = _read(_Values.of(texts, np.arange(len(texts), dtype=np.int64)), plain(fmt), [])
    for reject in read.rejects:
        row, index = places[reject.row]
        mine = None if index is None else texts[reject.row]
        rejects.append(replace(reject, row=row, index=index, value=mine))
    at = read.frame.get_column(ROW).to_list()
    rows = pl.Series(ROW, [places[one][0] for one in at], dtype=pl.Int64)
    indexes = pl.Series(INDEX, [places[one][1] for one in at], dtype=pl.Int32)
    return Decoded(read.frame.with_columns(rows, indexes), rejects, read.coded)


def _cut(given: _Values, fmt: Format, rejects: list[Reject]) -> Decoded:
    """Read lines by their patterns, a column at a time."""
    found = cut_lines(given.values, fmt)
    rejects += [Reject(int(given.rows[at]), None, reason) for at, reason in found.refused]
    count = len(found.at)
    nothing = pl.Series([None], dtype=pl.String).new_from_index(0, count)
    parts = {
        path: found.parts.get_column(path) if path in found.parts.columns else nothing for path in _paths(fmt)
    }
    alone = pl.Series(INDEX, [None], dtype=pl.Int32).new_from_index(0, count)
    frame = pl.DataFrame({ROW: pl.Series(ROW, given.rows[found.at]), INDEX: alone, **parts})
    if b"\0" not in given.data:
        return Decoded(frame, rejects)
    return Decoded(frame.filter(~pl.Series(_reject_nul(frame, np.ones(count, np.bool_), rejects))), rejects)


def _read(given: _Values, fmt: Format, rejects: list[Reject]) -> Decoded:
    """Read values that are records in JSON, or envelopes of them."""
    usual, given = _usual(given, fmt)
    if usual is not None and not given.values:
        return replace(usual, rejects=rejects)
    given = _validate(_single_lines(_unmarked(given), rejects), fmt, rejects)
    try:
        decoded = _columns(given, fmt)
    except NotJsonError:
        decoded = _columns(_validate(given, fmt, rejects, thorough=True), fmt)
    decoded = replace(decoded, rejects=rejects + decoded.rejects)
    return decoded if usual is None else _together(usual, decoded)


def _unmarked(given: _Values) -> _Values:
    """Take the byte-order mark off values that begin with it, as the first of a file may."""
    if MARK not in given.data:
        return given
    return _Values.of([value.removeprefix(MARK) for value in given.values], given.rows)


def _take_out(values: Sequence[bytes | None], max_bytes: int, rejects: list[Reject]) -> _Values:
    """Reject what is of no usable size."""
    whole: list[Any] = values if isinstance(values, list) else list(values)
    if (found := joined_if(whole, 1, max_bytes)) is not None:
        return _Values(whole, np.arange(len(whole), dtype=np.int64), *found)
    kept: list[bytes] = []
    rows: list[int] = []
    for row, value in enumerate(values):
        if reason := _unusable(value, max_bytes):
            rejects.append(Reject(row, None, reason))
        else:
            assert value is not None  # noqa: S101  (for the type checker: None is a tombstone)
            kept.append(value)
            rows.append(row)
    return _Values.of(kept, np.array(rows, dtype=np.int64))


def _unusable(value: bytes | None, max_bytes: int) -> str | None:
    if value is None:
        return Reason.TOMBSTONE
    if not value:
        return Reason.EMPTY
    return Reason.TOO_LARGE if len(value) > max_bytes else None


def _single_lines(given: _Values, rejects: list[Reject]) -> _Values:
    """Reject what is blank or has a line break. What the compiled reader has taken is and has neither."""
    if b"\n" not in given.data and not any(map(bytes.isspace, given.values)):
        return given
    single = np.ones(len(given.values), np.bool_)
    for at, value in enumerate(given.values):
        if value.isspace() or b"\n" in value:
            single[at] = False
            rejects.append(
                Reject(int(given.rows[at]), None, Reason.BLANK if value.isspace() else Reason.NEWLINE)
            )
    return given.only(single)


def _validate(given: _Values, fmt: Format, rejects: list[Reject], thorough: bool = False) -> _Values:
    """Reject what is no JSON object."""
    sound = readable(given.values, given.texts, thorough)
    if sound.all():
        return given
    for at in np.flatnonzero(~sound).tolist():
        rejects.append(Reject(int(given.rows[at]), None, *diagnose(given.values[at], fmt)))
    return given.only(sound)


@lru_cache(maxsize=256)
def _paths(fmt: Format) -> list[str]:
    return [spec.path for spec in fmt.fields if not fmt.within(spec)]


def _usual(given: _Values, fmt: Format) -> tuple[Decoded | None, _Values]:
    """Read records in the usual spelling; None where there are none. And the values that are left."""
    read = read_plain(given.texts, given.data, tree(fmt), fmt.envelope)
    if read is None or not read.taken.any():
        return None, given
    rows = pl.Series(ROW, given.rows)
    alone = pl.Series(INDEX, [None], dtype=pl.Int32).new_from_index(0, len(rows))
    leaves = {path: read.columns[path] for path in _paths(fmt)}
    usual = Decoded(pl.DataFrame({ROW: rows, INDEX: alone, **leaves}), [], read.coded)
    if not read.taken.all():
        frame = usual.frame.filter(pl.Series(read.taken))
        usual = Decoded(frame, [], _filtered(read.coded, read.taken))
    return usual, given.only(~read.taken)


def _together(usual: Decoded, others: Decoded) -> Decoded:
    """Put both together to one frame, in the order of the batch. Columns stay coded where those of the usual records
    are.
    """
    frame = pl.concat([usual.frame, others.frame])
    order = np.lexsort((frame.get_column(INDEX).fill_null(-1).to_numpy(), frame.get_column(ROW).to_numpy()))
    coded: dict[str, Coded] = {}
    for path, known in usual.coded.items():
        column = others.frame.get_column(path)
        theirs = others.coded.get(path) or Coded(
            pl.Series(np.arange(len(column), dtype=np.uint32)).set(column.is_null(), None), column
        )
        codes = pl.concat([known.codes, theirs.codes + len(known.values)])
        coded[path] = Coded(codes[order], pl.concat([known.values, theirs.values]))
    return Decoded(frame[order], others.rejects, coded)


def _columns(given: _Values, fmt: Format) -> Decoded:
    """Read what is left by the column; reject what has another shape than declared."""
    rejects: list[Reject] = []
    records = _open_envelopes(given, fmt, rejects)
    found = read_columns(records.texts, tree(fmt))
    rows = given.rows[records.places]
    index = pl.Series(INDEX, records.indexes).cast(pl.Int32)
    leaves = {path: found.columns[path] for path in _paths(fmt)}
    frame = pl.DataFrame({ROW: pl.Series(ROW, rows), INDEX: index.set(index < 0, None), **leaves})
    keep = np.ones(frame.height, np.bool_)
    if found.wrong.any() or records.faults:
        keep &= _reject_shapes(given, records, found.wrong, fmt, rejects)
    # NUL has no other spelling. By the column, since Python looks for more than one byte slowly.
    if given.escaped and pl.Series(given.texts).str.contains("\\u0000", literal=True).any():
        keep &= ~_reject_nul(frame, keep, rejects)
    if keep.all():
        return Decoded(frame, rejects, found.coded)
    return Decoded(frame.filter(pl.Series(keep)), rejects, _filtered(found.coded, keep))


def _filtered(coded: dict[str, Coded], keep: Mask) -> dict[str, Coded]:
    mask = pl.Series(keep)
    return {path: Coded(c.codes.filter(mask), c.values) for path, c in coded.items()}


def _open_envelopes(given: _Values, fmt: Format, rejects: list[Reject]) -> _Records:
    """Return every record as a text: the value itself, or each element of the envelope it is."""
    count = len(given.values)
    alone = _Records(given.texts, np.arange(count, dtype=np.int64), np.full(count, -1, np.int64))
    if not fmt.envelope or not count:
        return alone
    name = orjson.dumps(fmt.envelope).decode()
    texts = pl.Series(given.texts)
    hinted = texts.str.contains(name, literal=True)
    if given.escaped:  # a name may be written with escapes
        hinted |= texts.str.contains("\\u00", literal=True)
    if not hinted.any():
        return alone
    places = np.flatnonzero(hinted.to_numpy())
    lists, other = opened(given.texts.take(pa.array(places)), fmt.envelope)
    for at in places[other].tolist():
        rejects.append(Reject(int(given.rows[at]), None, *diagnose(given.values[at], fmt)))
    sizes = lists.list.len().set(pl.Series(other), None)
    for at in places[(sizes == 0).fill_null(False).to_numpy()].tolist():
        rejects.append(Reject(int(given.rows[at]), None, Reason.EMPTY_ENVELOPE))
    elements = (
        pl.DataFrame({"place": places, "text": lists})
        .filter((sizes > 0).fill_null(False))
        .with_columns(index=pl.int_ranges(0, pl.col("text").list.len(), dtype=pl.Int64))
        .explode("text", "index")
    )
    for at, number in elements.filter(pl.col("text").is_null()).select("place", "index").rows():
        rejects.append(Reject(int(given.rows[at]), number, Reason.NOT_AN_OBJECT, None, None, b"null"))
    elements = elements.drop_nulls("text")
    record = pl.col("text").str.starts_with("{")
    faults = elements.filter(~record).select("place", "index").rows()
    elements = elements.filter(record)
    single = np.ones(count, np.bool_)
    single[places[lists.is_not_null().to_numpy() | other]] = False
    bare = np.flatnonzero(single)
    order = np.lexsort(
        (
            np.concatenate([np.full(len(bare), -1), elements.get_column("index").to_numpy()]),
            np.concatenate([bare, elements.get_column("place").to_numpy()]),
        )
    )
    every = pa.concat_arrays(
        [given.texts.take(pa.array(bare)), elements.get_column("text").to_arrow().cast(pa.large_string())]
    )
    return _Records(
        every.take(pa.array(order)),
        np.concatenate([bare, elements.get_column("place").to_numpy()])[order],
        np.concatenate([np.full(len(bare), -1), elements.get_column("index").to_numpy()])[order],
        faults,
    )


def _reject_shapes(
    given: _Values, records: _Records, wrong: Mask, fmt: Format, rejects: list[Reject]
) -> Mask:
    """Reject records that have another shape than declared; returns which ones stay.

    Of an envelope only the elements at fault are lost, unless it could be read in two ways: then it is rejected whole.
    """
    keep = ~wrong
    at_fault: dict[int, list[int]] = {}
    for place, index in records.faults:
        at_fault.setdefault(place, []).append(index)
    for at in np.flatnonzero(wrong).tolist():
        at_fault.setdefault(int(records.places[at]), []).append(int(records.indexes[at]))
    for place, indexes in at_fault.items():
        value, row = given.values[place], int(given.rows[place])
        elements = _elements(value, fmt) if indexes != [-1] else None
        if elements is None:
            rejects.append(Reject(row, None, *diagnose(value, fmt)))
            keep[records.places == place] = False
            continue
        for index in indexes:
            try:
                alone = orjson.dumps(elements[index])
            except orjson.JSONEncodeError:  # nested deeper than it can be written again
                rejects.append(Reject(row, index, Reason.TOO_DEEP))
            else:
                rejects.append(Reject(row, index, *diagnose(alone, fmt), None, alone))
    return keep


def _elements(value: bytes, fmt: Format) -> list[Any] | None:
    """Return the elements of an envelope of several records; None where it is to be rejected whole."""
    try:
        document: Any = parse(value)
    except CanonicalError:
        return None
    found = document.get(fmt.envelope)
    return found if isinstance(found, list) and len(found) > 1 else None


def _reject_nul(frame: pl.DataFrame, keep: Mask, rejects: list[Reject]) -> Mask:
    """Reject records with a NUL in a declared field: nothing that is stored may hold one. Returns which they are."""
    nul = [
        (pl.col(name) if dtype == pl.String else pl.col(name).list.join("")).str.contains("\0", literal=True)
        for name, dtype in frame.schema.items()
        if dtype in (pl.String, pl.List(pl.String))
    ]
    bad: Mask = (
        frame.select(pl.any_horizontal(nul).fill_null(False).alias("bad")).to_series().to_numpy() & keep
    )
    for row, index in frame.filter(pl.Series(bad)).select(ROW, INDEX).rows():
        rejects.append(Reject(row, index, Reason.BAD_UNICODE))
    return bad
