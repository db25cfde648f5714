"""The audit: who asked what of whom, durable before an answer is shown."""

__all__ = ["earlier", "keys", "log", "tokens"]
