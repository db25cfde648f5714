"""What takes records in besides the worker: files, replay of the quarantine, trial of a declaration."""

__all__ = ["ingest", "quarantine", "replay", "trial"]
