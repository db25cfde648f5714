"""Ask the archive with SQL. It holds no identifier of an end user, so a question leaves no audit entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from pathlib import Path
from typing import IO, Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from lethe.operations.runtime import Runtime
from lethe.schemas.csv_text import FORMULA
from lethe.schemas.errors import InputError, LetheError
from lethe.tiers.archive import sql

FORMATS: Final = ("csv", "json", "parquet")


@dataclass(frozen=True, slots=True)
class Answer:
    """Names of the columns, and the rows; both empty for a statement that answers nothing."""

    columns: list[str]
    rows: list[tuple[Any, ...]]

    def dicts(self) -> list[dict[str, Any]]:
        """Return the rows by name of column."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def query(runtime: Runtime, statement: str) -> Answer:
    """Run one statement over the archive's views (`lethe.tiers.archive.sql`); `LetheError` says what is wrong."""
    return Answer(*sql.query(runtime.warehouse, statement))


def first(runtime: Runtime, statement: str, most: int) -> tuple[Answer, bool]:
    """Run one statement and return its first rows, at most so many, and whether there are more."""
    rows: list[tuple[Any, ...]] = []
    with sql.streamed(runtime.warehouse, statement) as answer:
        for batch in answer.batches:
            rows += sql.rows_of(batch.slice(0, most + 1 - len(rows)))
            if len(rows) > most:
                break
        return Answer(answer.schema.names, rows[:most]), len(rows) > most


def write(
    runtime: Runtime,
    statement: str,
    form: str,
    out: IO[bytes],
    on_rows: Callable[[int], None] = lambda _: None,
    for_people: bool = False,
) -> int:
    """Write the answer to a statement as csv, json or parquet while it comes; return how many rows it had.

    Values are as they are; in a csv `for_people`, who open it in a spreadsheet, a text that would be taken for a
    formula begins with an apostrophe. Memory stays flat.
    """
    rows = 0
    with sql.streamed(runtime.warehouse, statement) as answer, _WRITERS[form](answer.schema, out) as put:
        for batch in answer.batches:
            put(_no_formulas(batch) if for_people and form == "csv" else batch)
            rows += batch.num_rows
            on_rows(rows)
    return rows


def write_file(
    runtime: Runtime, statement: str, form: str, path: Path, on_rows: Callable[[int], None] = lambda _: None
) -> int:
    """Write the answer into a new file; one that cannot be finished is removed. `InputError` if it is there."""
    try:
        with path.open("xb") as out:
            try:
                return write(runtime, statement, form, out, on_rows)
            except BaseException:
                path.unlink()
                raise
    except FileExistsError:
        raise InputError("--out: the file is there already; give a new one") from None
    except OSError as error:
        raise LetheError(f"{path}: {error.strerror}") from None


def _no_formulas(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = []
    for column in batch.columns:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            begins = reduce(pc.or_, (pc.starts_with(column, sign) for sign in FORMULA))
            quote = pa.scalar("'", column.type)
            column = pc.if_else(
                begins, pc.binary_join_element_wise(quote, column, pa.scalar("", column.type)), column
            )
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


Put = Callable[[pa.RecordBatch], None]


@contextmanager
def _csv(schema: pa.Schema, out: IO[bytes]) -> Iterator[Put]:
    if not len(schema):
        yield lambda _batch: None
        return
    plain = pa.schema([pa.field(f.name, pa.string() if _is_nested(f.type) else f.type) for f in schema])
    with pa.csv.CSVWriter(out, plain) as writer:
        yield lambda batch: writer.write_batch(_plain(batch, plain))


def _plain(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        pa.array([None if v is None else _text(v) for v in column.to_pylist()], pa.string())
        if _is_nested(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _is_nested(kind: pa.DataType) -> bool:
    """Tell whether csv has no word of its own for a type: bytes, and what holds several values."""
    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
                or pa.types.is_fixed_size_binary(kind) or pa.types.is_dictionary(kind))  # fmt: skip


def _text(value: Any) -> str:
    if isinstance(value, bytes | str):
        return value if isinstance(value, str) else value.hex()
    return orjson.dumps(value, default=_said).decode()


@contextmanager
def _json(schema: pa.Schema, out: IO[bytes]) -> Iterator[Put]:
    names, begun = schema.names, False

    def put(batch: pa.RecordBatch) -> None:
        nonlocal begun
        lines = [
            orjson.dumps(dict(zip(names, row, strict=True)), default=_said) for row in sql.rows_of(batch)
        ]
        if lines:
            out.write((b",\n" if begun else b"") + b",\n".join(lines))
            begun = True

    out.write(b"[\n")
    yield put
    out.write(b"\n]\n" if begun else b"]\n")


@contextmanager
def _parquet(schema: pa.Schema, out: IO[bytes]) -> Iterator[Put]:
    if not len(schema):
        raise InputError("the statement answers nothing that could be written as parquet")
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        yield writer.write_batch


def _said(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    return value.hex() if isinstance(value, bytes) else str(value)


_WRITERS: Final = {"csv": _csv, "json": _json, "parquet": _parquet}
