"""Commands that run Lethe, take records in and keep the tables in order."""

__all__ = ["compaction", "demo", "formats", "operate", "serve", "topics", "traffic"]
