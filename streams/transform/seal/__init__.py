"""Tokens, sealed values, originals and integrity hashes, by the column."""

__all__ = ["originals", "rejected", "seal"]
