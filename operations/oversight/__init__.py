"""What is asked of the audit: who looked at a person, what was done, and whether the log is whole."""

__all__ = ["disclosures", "entries", "shared", "signing", "verify"]
