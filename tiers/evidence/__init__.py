"""Integrity of the warehouse: logs published, verified, and evidence of single records."""

__all__ = [
    "leaf_lists",
    "log_state",
    "log_store",
    "proof",
    "publication",
    "replay_log",
    "signer_file",
    "unhashed",
    "verification",
]
