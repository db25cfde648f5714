"""Benchmarks of Lethe against bare Kafka clients and other stream processors. See `bench/run.py`."""
