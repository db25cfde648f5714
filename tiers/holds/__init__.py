"""Legal holds: what they cover, what they keep, and their release."""

__all__ = ["holds", "release", "scope"]
