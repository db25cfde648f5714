"""The ledger's rows, read file by file where a file is not what the table's log says of it.

A file may be damaged, or rewritten by another writer: what can be read is read by value, and the rest is named.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from lethe.schemas.arrow import LEDGER, conformed
from lethe.schemas.errors import IntegrityError
from lethe.tiers.delta.places import read_parquet
from lethe.tiers.delta.rewrite import BROKEN, files_of
from lethe.tiers.warehouse import Warehouse


def read_ledger(warehouse: Warehouse, chosen: Any = None) -> tuple[pa.Table, dict[str, str]]:
    """Read the ledger's rows as its handle sees them, those for which the expression `chosen` holds.

    Returns them with the columns of `lethe.schemas.arrow.LEDGER`, and for each file that cannot be read, by its path
    in the warehouse, what is wrong with it.
    """
    try:
        return _together(warehouse, chosen), {}
    except BROKEN:
        pass  # which file it is nobody says, and the others count
    found, broken = [LEDGER.empty_table()], dict[str, str]()
    for file in files_of(warehouse.ledger):
        path = f"ledger/{file.path}"
        data = warehouse.objects.get(path)
        if data is None:
            broken[path] = "the file is gone"
            continue
        try:
            rows = conformed(read_parquet(data), LEDGER)
            found.append(rows if chosen is None else rows.filter(chosen))
        except BROKEN as error:
            broken[path] = f"the file cannot be read ({type(error).__name__})"
    return pa.concat_tables(found), broken


def _together(warehouse: Warehouse, chosen: Any) -> pa.Table:
    """Read all files as one; raises one of `BROKEN` where one of them cannot be read."""
    objects, table = warehouse.objects, warehouse.ledger
    if chosen is not None or not Path(objects.root).is_dir():
        # Some need not be read; and of an object store several are asked for at once.
        return conformed(table.dataset().to_table(filter=chosen), LEDGER)
    files = [read_parquet(objects.get(f"ledger/{file.path}") or b"") for file in files_of(table)]
    return conformed(pa.concat_tables([LEDGER.empty_table(), *files], promote_options="permissive"), LEDGER)


def require_ledger(warehouse: Warehouse, chosen: Any = None) -> pa.Table:
    """Read the same; raises `IntegrityError` naming the files that cannot be read."""
    rows, broken = read_ledger(warehouse, chosen)
    if broken:
        named = "; ".join(f"{path}: {what}" for path, what in sorted(broken.items()))
        raise IntegrityError(f"{named}; bring it back from the backup")
    return rows
