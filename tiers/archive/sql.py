"""SQL over the archive and nothing else: DuckDB with five views, no files, no network, no extensions."""

from __future__ import annotations

from typing import Any

import duckdb

from lethe.schemas.declaration.vocabulary import CODES
from lethe.schemas.errors import LetheError
from lethe.tiers.warehouse import Warehouse

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


def query(warehouse: Warehouse, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Run one statement over `metadata`, `adjustments`, `codes`, `named` and `billable`: (column names, rows).

    Raises `LetheError` with what DuckDB has to say; nothing outside the archive can be reached.
    """
    warehouse.metadata.reload()
    connection = duckdb.connect(":memory:")
    try:
        connection.register("metadata", warehouse.metadata.dataset())
        connection.register("adjustments", warehouse.table("adjustments").dataset())
        connection.register("codes", warehouse.table("codes").dataset())
        connection.execute(_named(connection))
        connection.execute(_BILLABLE)
        for setting in _LOCKED:
            connection.execute(setting)
        answer = connection.execute(statement)
        columns = [column[0] for column in answer.description or ()]
        return columns, answer.fetchall() if columns else []
    except duckdb.Error as error:
        raise LetheError(f"sql: {str(error).splitlines()[0]}") from None
    finally:
        connection.close()
