"""The stream processor: settings, feed, decode, split, seal and the Faust worker."""

__all__ = ["transform", "worker"]
