"""A month of the window beside the archive, in columns: who got what, as numbers in memory that never leave it."""

__all__ = ["columns", "month_rows"]
