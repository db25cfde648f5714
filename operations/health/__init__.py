"""What says how the installation is."""

__all__ = ["doctor", "ledger"]
