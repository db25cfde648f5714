"""What is hashed: canonical archive rows, canonical JSON, and the salted hash of an original."""

__all__ = ["canonical_json", "canonical_rows", "compiled", "hashes"]
