"""Documents people read: one list of blocks, written as HTML and as PDF alike, in the ways of a language."""

__all__ = ["blocks", "fonts", "languages", "packed"]
