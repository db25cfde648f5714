"""What people touch: the `lethe` command line and the audit log behind it."""
