"""The worker: feed, commit pipeline, control topic, metrics and its life cycle."""

__all__ = ["app", "control_topic", "feed", "logs", "metrics", "pipeline", "worker"]
