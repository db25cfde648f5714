"""Forgetting on time: months of the window, years of the archive, and the guard against wrong clocks."""

__all__ = ["archive_expiry", "clock_guard", "expiry", "sweep"]
