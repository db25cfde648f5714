"""A decoded batch becomes subjects, metadata and what stays in the window."""

__all__ = [
    "charges",
    "classify",
    "columns",
    "conditions",
    "leak_guard",
    "parties",
    "rules",
    "split",
    "window_fields",
]
