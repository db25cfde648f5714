"""The signed log of a topic-partition: Merkle trees, entries, checkpoints, signatures, time stamps."""

__all__ = [
    "all_rows",
    "checkpoint",
    "commitment",
    "entries",
    "groups",
    "leaves",
    "leb128",
    "merkle",
    "note",
    "publish",
    "signing",
    "stamp",
    "store",
    "tiles",
]
