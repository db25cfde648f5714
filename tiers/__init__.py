"""The tables: exactly-once commit, look-up, ledger, quarantine and the objects they are made of."""

__all__ = [
    "archive",
    "certificates",
    "commit",
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
