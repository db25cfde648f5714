"""The archive: SQL over it, and its rows as verification and evidence read them."""

__all__ = ["commit_rows", "rows", "sql"]
