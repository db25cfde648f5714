"""The use cases: one module each, called by the command line and the control topic alike."""

__all__ = [
    "access",
    "archive",
    "asker",
    "audit",
    "billing",
    "codes",
    "compact",
    "engines",
    "health",
    "intake",
    "lines",
    "listed_codes",
    "oversight",
    "proof",
    "residence",
    "retention",
    "rights",
    "runtime",
    "settings",
    "window",
]
