"""What the targets of a case have in common: one audited read, then arithmetic over a frame that names nobody."""

__all__ = ["communications", "graph", "overview", "presets"]
