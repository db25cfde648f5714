"""What one commit is made of: pages of originals, and the entries that account for it in the ledger."""

__all__ = ["clock_check", "ledger_entries", "pages"]
