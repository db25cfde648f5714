"""The `lethe` command line: parses, calls a use case, shows its answer. Which module a command is in: `_root`."""

__all__ = ["keeping", "main", "people", "running", "shell"]
