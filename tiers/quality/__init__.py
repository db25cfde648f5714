"""What a vendor changes shows: profiles of what is committed, compared with each format's own past."""

__all__ = ["check", "compare", "past", "profile"]
