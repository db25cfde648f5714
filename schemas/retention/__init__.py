"""How long what is kept: calendar arithmetic in UTC, and the periods of classes and countries."""

__all__ = ["calendar", "data_class", "policy"]
