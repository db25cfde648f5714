"""Brokers on loopback: an embedded one in memory, and Apache Kafka."""

__all__ = ["embedded", "kafka", "process", "topics"]
