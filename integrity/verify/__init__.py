"""Verification of archive and log: what was altered, is missing, was added or moved."""

__all__ = ["archive", "findings", "locate", "log", "outside_rows", "replays", "row_batch", "whole"]
