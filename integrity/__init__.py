"""Hashes, Merkle trees, signed logs, evidence and verification. The core is pure and usable without the rest."""
