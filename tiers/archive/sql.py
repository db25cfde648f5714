"""SQL over the archive and nothing else: DuckDB with three views, no files, no network, no extensions."""

from __future__ import annotations

from typing import Any

import duckdb

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
    "CREATE VIEW billable AS SELECT * FROM metadata m WHERE NOT EXISTS (SELECT 1 FROM adjustments a "
    'WHERE a.month = m.month AND a.stream = m.stream AND a.partition = m.partition AND a."offset" = m."offset" '
    'AND a."index" IS NOT DISTINCT FROM m."index")'
)


def query(warehouse: Warehouse, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Run one statement over the views `metadata`, `adjustments` and `billable`: (column names, rows).

    Raises `LetheError` with what DuckDB has to say; nothing outside the archive can be reached.
    """
    warehouse.metadata.reload()
    connection = duckdb.connect(":memory:")
    try:
        connection.register("metadata", warehouse.metadata.delta.to_pyarrow_dataset())
        connection.register("adjustments", warehouse.table("adjustments").delta.to_pyarrow_dataset())
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
