"""Sections of the settings that are long, and the environment variables laid over all of them."""

__all__ = ["environment", "keys", "lines"]
