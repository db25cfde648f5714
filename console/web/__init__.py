"""The service people use: server-rendered pages and a JSON API, which hold the keys so that nobody else must."""

__all__ = ["app", "service"]
