"""Tokens, sealed values, originals and integrity hashes, by the column."""

__all__ = ["codes", "originals", "rejected", "seal"]
