"""Commands that look at people, or act on what is held of them."""

__all__ = ["holds", "quarantine", "rights", "window"]
