"""Who may do what: accounts, sessions, roles, cases, and the grants without which no read of the window happens."""

__all__ = [
    "accounts",
    "cases",
    "database",
    "desk",
    "devices",
    "gate",
    "grants",
    "identity",
    "roles",
    "sessions",
    "signed_requests",
    "tables",
]
