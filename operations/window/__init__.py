"""Looking into the window: whom a text names, what may be shown, and who was told."""

__all__ = ["answers", "communications", "identify", "ladders", "lookup", "reveal", "visibility"]
