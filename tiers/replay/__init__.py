"""Replay of quarantined records, exactly once, under a lease."""

__all__ = ["lease", "recover", "replay"]
