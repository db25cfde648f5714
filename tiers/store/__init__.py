"""The objects of the warehouse, on a local directory or an object store."""

__all__ = ["failpoint", "object_store", "objects"]
