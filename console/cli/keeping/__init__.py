"""Commands over the archive: what is kept how long, proven, billed."""

__all__ = ["adjustments", "archive", "codes", "proof", "retention", "signing"]
