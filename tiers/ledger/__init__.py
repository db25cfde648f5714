"""The ledger: what each commit took in, and whether the tables hold what it says."""

__all__ = ["accepted", "commits", "covered", "reading", "reconcile", "tables"]
