"""What takes records in besides the worker: files, replay of the quarantine, trial of a declaration."""

__all__ = ["fit", "ingest", "quarantine", "replay", "trial", "undo"]
