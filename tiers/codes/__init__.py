"""What the stand-ins of codes stand for: who shares one, and the table that names it once that names nobody."""

__all__ = ["shared", "table"]
