"""Delta tables: opened, appended to, read and maintained in one way."""

__all__ = ["files", "log", "orphans", "rewrite", "table"]
