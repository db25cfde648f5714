"""What forgets: the sweep, as a process runs it."""

__all__ = ["expire", "sweep"]
