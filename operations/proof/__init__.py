"""What proves: the signing keys, and publication of the logs."""

__all__ = ["evidence", "originals", "publisher", "signer", "verify"]
