"""Addresses of parties: one canonical form, its spellings, and the country a number belongs to."""

__all__ = ["addresses", "geography", "spellings"]
