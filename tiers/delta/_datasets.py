"""Arrow datasets of a table, whoever wrote its files and whatever the log says of their columns."""

from __future__ import annotations

from functools import reduce
from operator import and_
from typing import Any

from lethe.schemas.compute import pc


def by_partition(dataset: Any) -> Any:
    """Return a dataset that believes of its files what partition they are of, and nothing else.

    The library takes columns of which the log gives no bounds to be empty as soon as it gives those of others, as
    engines do that write them of the first columns only: a filter on the later ones would find nothing.
    """
    # Not above: where pandas is installed this brings it in, and look-ups start without it.
    from pyarrow.dataset import FileSystemDataset, get_partition_keys

    fragments = []
    for one in dataset.get_fragments():
        keys = get_partition_keys(one.partition_expression).items()
        where = reduce(and_, (pc.field(name) == value for name, value in keys), pc.scalar(True))
        fragments.append(one.format.make_fragment(one.path, one.filesystem, partition_expression=where))
    return FileSystemDataset(fragments, dataset.schema, dataset.format, dataset.filesystem)


def read_options() -> Any:
    """Say how files are read: times as Spark writes them (INT96) in microseconds, or those after 2262 are others."""
    from pyarrow.dataset import ParquetReadOptions

    return ParquetReadOptions(coerce_int96_timestamp_unit="us")
