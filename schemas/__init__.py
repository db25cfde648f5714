"""What a record is and how long each part of it may live. Pure: no I/O, imports nothing of ours."""

__all__ = [
    "arrow",
    "compiled",
    "countries",
    "declaration",
    "descriptions",
    "errors",
    "flat",
    "line",
    "position",
    "retention",
    "sections",
    "site",
    "subjects",
    "transformed",
]
