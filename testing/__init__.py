"""Made-up traffic and brokers for tests, the demo and the benchmarks. No part of the product."""

__all__ = ["brokers", "traffic"]
