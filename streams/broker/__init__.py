"""The broker: how its clients log in, why it cannot be reached in one line, and who a topic is."""

__all__ = ["client", "rights", "topics"]
