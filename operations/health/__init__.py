"""What says how the installation is."""

__all__ = ["boards", "doctor", "ledger", "verified", "watermark"]
