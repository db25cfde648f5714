"""The tables: exactly-once commit, look-up, ledger, quarantine and the objects they are made of."""

__all__ = [
    "archive",
    "certificates",
    "codes",
    "commit",
    "compaction",
    "delta",
    "evidence",
    "holds",
    "ledger",
    "maintenance",
    "replay",
    "retention",
    "rights",
    "store",
    "warehouse",
    "window",
]
