"""Hashes, Merkle trees, signed logs, evidence and verification. A pure core, usable without the rest."""

__all__ = ["evidence", "journal", "log", "rows", "verify"]
