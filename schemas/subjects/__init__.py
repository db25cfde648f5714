"""Addresses of parties: one canonical form, its spellings, and the country a number belongs to."""

__all__ = [
    "address_columns",
    "addresses",
    "business",
    "crowd",
    "equivalents",
    "geography",
    "nobody",
    "numbers",
    "spellings",
]
