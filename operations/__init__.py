"""The use cases: one module each, called by the command line and the control topic alike."""

__all__ = ["access", "audit", "health", "intake", "proof", "retention", "runtime", "settings"]
