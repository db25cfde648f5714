"""How Lethe runs beside the platform, and the brokers its tests and its demo run against."""
