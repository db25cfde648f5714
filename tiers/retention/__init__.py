"""Forgetting on time: months of the window, years of the archive, the guard against wrong clocks, lost keys."""

__all__ = ["archive_expiry", "clock_guard", "expiry", "loss", "sweep"]
