"""The stream processor: settings, feed, decode, split, seal and the Faust worker."""

__all__ = ["broker", "transform", "worker"]
