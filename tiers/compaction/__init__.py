"""Which files of a table are merged and how: many small ones become few sorted ones with the same rows.

Planned from the list of files, performed without any key, settled in one commit. `jobs` is the way in.
"""

__all__ = ["jobs", "layout", "perform", "plan"]
