"""Addresses of parties: one canonical form, its spellings, and the country a number belongs to."""

__all__ = [
    "address_columns",
    "addresses",
    "business",
    "equivalents",
    "geography",
    "nobody",
    "numbers",
    "spellings",
]
