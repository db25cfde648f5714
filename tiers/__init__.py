"""The tables: exactly-once commit, look-up, ledger, quarantine and the objects they are made of."""

__all__ = [
    "archive",
    "certificates",
    "delta",
    "evidence",
    "holds",
    "ledger",
    "replay",
    "retention",
    "rights",
    "store",
    "warehouse",
    "window",
]
