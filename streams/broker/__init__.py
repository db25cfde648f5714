"""The broker: how its clients log in, why it cannot be reached in one line, and who a topic is, and whether
partitions are read from.
"""

__all__ = ["client", "rights", "standstill", "topics"]
