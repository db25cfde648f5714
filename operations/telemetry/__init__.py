"""What is told to tracing and lineage collectors: how much and how long, never what. Off unless a collector is set."""

__all__ = ["commits", "lineage", "traces"]
