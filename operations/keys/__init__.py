"""What is done about keys: proving that they open, or do not any more, and moving them to another provider."""

__all__ = ["check", "migrate"]
