"""Time: what is forgotten when it is due, and what a hold keeps although it is."""

__all__ = ["certificates", "expire", "hold", "hold_export", "policy", "sweep"]
