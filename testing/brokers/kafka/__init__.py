"""Apache Kafka 4 on loopback ports, for the tests that the embedded broker cannot serve."""
