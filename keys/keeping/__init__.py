"""What the warehouse keeps about keys: wrapped secrets, marks of destruction, notes of loss; moving keys."""

__all__ = ["keystore", "loss", "migration", "wrapped"]
