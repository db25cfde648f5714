"""The use cases: one module each, called by the command line and the control topic alike."""

__all__ = ["audit", "health", "intake", "proof", "retention", "runtime", "settings"]
