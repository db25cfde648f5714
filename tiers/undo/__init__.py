"""A file that was taken in under a wrong declaration leaves every table again."""

__all__ = ["undo"]
