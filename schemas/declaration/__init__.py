"""Declarations of inbound formats: which field of a record is what, and where each part goes."""

__all__ = ["charge", "fields", "format", "paths", "vocabulary"]
