"""Which protocol a table may have. Lethe's own is reader version 1, writer version 2; other engines can raise it.

What cannot be read is refused at once: rows that a deletion vector hides, or columns under other names, would be taken
for something else. What can be read and not written is refused before a commit.
"""

from __future__ import annotations

from typing import Any, Final

from lethe.schemas.errors import ConfigurationError
from lethe.tiers.delta.log import WRITER_VERSION

_READER_VERSION: Final = 1
_WRITER_BY_LIBRARY: Final = 4
"""The last writer version without a list of features that the library writes for what Lethe does."""
_READ: Final = frozenset({"timestampNtz"})
_WRITTEN: Final = _READ | {
    "appendOnly",
    "invariants",
    "checkConstraints",
    "changeDataFeed",
    "generatedColumns",
}


def may_append(protocol: Any) -> bool:
    """Tell whether an append to a table needs nothing but what `lethe.tiers.delta.log` writes."""
    return protocol.min_writer_version <= WRITER_VERSION and not protocol.writer_features


def check_readable(table: str, protocol: Any) -> None:
    """Raise `ConfigurationError` when another engine has given the table what Lethe does not read."""
    features = sorted(set(protocol.reader_features or ()) - _READ)
    listed = protocol.min_reader_version == 3 and protocol.reader_features is not None
    if features or not (protocol.min_reader_version <= _READER_VERSION or listed):
        raise upgraded(table, "read", features or [f"reader version {protocol.min_reader_version}"])


def check_writable(table: str, protocol: Any) -> None:
    """Raise `ConfigurationError` when another engine has given the table what Lethe does not write."""
    features = sorted(set(protocol.writer_features or ()) - _WRITTEN)
    if features or (protocol.writer_features is None and protocol.min_writer_version > _WRITER_BY_LIBRARY):
        raise upgraded(table, "write", features or [f"writer version {protocol.min_writer_version}"])


def upgraded(table: str, what: str, features: list[str]) -> ConfigurationError:
    """Return the error of a table that has been upgraded; `what` cannot be done with it: read or write."""
    return ConfigurationError(
        f"table {table}: another engine has upgraded it ({', '.join(features) or 'protocol'}), and Lethe cannot {what} "
        "it so; take the feature out there (ALTER TABLE ... DROP FEATURE), nothing was written"
    )
