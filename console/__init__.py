"""What people touch: the `lethe` command line and the audit log behind it."""

import os

# Before anything imports polars, which reads it then. Its queries here are small: handing each to other threads costs
# a tenth of a worker's processor time, and loads are split side by side anyway (`threads`).
os.environ.setdefault("POLARS_MAX_THREADS", "1")

__all__ = ["cli"]
