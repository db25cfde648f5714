"""The privacy office: a person's request from receipt to answer, and the answer in the person's own language."""

__all__ = ["answer", "office", "requests"]
