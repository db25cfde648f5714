"""SQL over the archive and nothing else: DuckDB with five views, no files, no network, no extensions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import pyarrow as pa

from lethe.schemas.declaration.vocabulary import CODES
from lethe.schemas.errors import LetheError
from lethe.tiers.warehouse import Warehouse

_ROWS: Final = 16_384

_LOCKED = (
    "SET TimeZone = 'UTC'",
    "SET python_enable_replacements = false",  # no variable of this process is a table
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)


_BILLABLE = (
    "CREATE VIEW billable AS SELECT * FROM named m WHERE NOT EXISTS (SELECT 1 FROM adjustments a "
    'WHERE a.month = m.month AND a.stream = m.stream AND a.partition = m.partition AND a."offset" = m."offset" '
    'AND a."index" IS NOT DISTINCT FROM m."index")'
)


def _named(connection: duckdb.DuckDBPyConnection) -> str:
    """Return the statement of the view `named`: the archive with codes in place of stand-ins, where they are named.

    A column that nothing is named of costs nothing.
    """
    told = connection.execute("SELECT DISTINCT column_name FROM codes").fetchall()
    columns = sorted({name for (name,) in told} & CODES)
    joins = "".join(
        f" LEFT JOIN (SELECT month, stand_in, any_value(text) AS text FROM codes WHERE column_name = '{name}' "  # noqa: S608
        f"GROUP BY ALL) c_{name} ON c_{name}.month = m.month AND c_{name}.stand_in = m.{name}"
        for name in columns
    )
    shown = ", ".join(f"coalesce(c_{name}.text, m.{name}) AS {name}" for name in columns)
    return f"CREATE VIEW named AS SELECT m.*{f' REPLACE ({shown})' if shown else ''} FROM metadata m{joins}"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Stream:
    """The answer to a statement, as it comes: `schema` has no field for a statement that answers nothing."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


@contextmanager
def streamed(warehouse: Warehouse, statement: str) -> Iterator[Stream]:
    """Run one statement over `metadata`, `adjustments`, `codes`, `named` and `billable`; its rows come in batches.

    Raises `LetheError` with what DuckDB has to say, also from the batches; nothing outside the archive can be reached.
    What is held in memory is what the statement itself needs: a selection needs a batch.
    """
    warehouse.metadata.reload()
    with _errors(), duckdb.connect(":memory:") as connection:
        connection.register("metadata", warehouse.metadata.dataset())
        connection.register("adjustments", warehouse.table("adjustments").dataset())
        connection.register("codes", warehouse.table("codes").dataset())
        connection.execute(_named(connection))
        connection.execute(_BILLABLE)
        for setting in _LOCKED:
            connection.execute(setting)
        answer: Any = connection.sql(statement)  # of `execute`, the whole answer would be held first
        if answer is None:
            yield Stream(pa.schema([]), iter(()))
            return
        reader: Any = answer.to_arrow_reader(_ROWS)
        yield Stream(reader.schema, _batches(reader))


def query(warehouse: Warehouse, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Run one statement as `streamed` does and hold the whole answer: (column names, rows)."""
    with streamed(warehouse, statement) as answer:
        rows = [row for batch in answer.batches for row in rows_of(batch)]
        return answer.schema.names, rows


def rows_of(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a batch as Python values."""
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _batches(reader: Any) -> Iterator[pa.RecordBatch]:
    with _errors():
        yield from reader


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (duckdb.Error, pa.ArrowException) as error:
        raise LetheError(f"sql: {str(error).splitlines()[0]}") from None
