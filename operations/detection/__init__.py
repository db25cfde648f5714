"""Fraud patterns of a month's traffic: what is shown are blocks of numbers, accounts and routes, never a number."""

__all__ = ["detect"]
