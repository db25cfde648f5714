"""The rights of a person: a copy of what is held, erasure, restriction; the same by command and by message."""

__all__ = ["erase", "export", "requests", "restrict"]
