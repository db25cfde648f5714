"""Which archive rows are not to be billed: reports that a later one superseded, and those that were sent twice."""

__all__ = ["find", "table"]
