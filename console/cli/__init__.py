"""The `lethe` command line: parses, calls an operation, shows its answer."""

__all__ = [
    "archive",
    "demo",
    "formats",
    "holds",
    "main",
    "operate",
    "proof",
    "quarantine",
    "retention",
    "rights",
    "shell",
    "signing",
    "traffic",
    "window",
]
