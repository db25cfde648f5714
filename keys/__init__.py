"""Month keys: the ring, the providers that hold key-encryption keys, tokens and sealing."""

__all__ = [
    "blobs",
    "files",
    "keystore",
    "latest",
    "memory",
    "migration",
    "monthkeys",
    "pages",
    "providers",
    "ring",
    "sealing",
    "secret",
    "tokens",
    "wrapped",
]
