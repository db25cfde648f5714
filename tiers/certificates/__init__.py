"""Deletion certificates, the journal of deletions under way, and what is missing on purpose."""

__all__ = ["certificates", "expected_losses", "journal", "places"]
