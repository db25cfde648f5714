"""The evidence file of one record: built here, and checked by a verifier that stands alone."""

__all__ = ["build", "check", "parties", "sentences", "verify_evidence"]
