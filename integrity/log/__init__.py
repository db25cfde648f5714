"""The signed log of a topic-partition: Merkle trees, entries, checkpoints, signatures, time stamps."""

__all__ = [
    "checkpoint",
    "commitment",
    "entries",
    "groups",
    "leaves",
    "leb128",
    "merkle",
    "note",
    "outside",
    "publish",
    "signing",
    "stamp",
    "store",
    "tiles",
]
