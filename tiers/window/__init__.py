"""The window: look-up, originals, quarantine, and the records of a person."""

__all__ = ["lookup", "mentioned", "mentions", "quarantine", "records", "sought"]
