"""Month keys: the ring, the providers that hold key-encryption keys, tokens and sealing."""

__all__ = [
    "blobs",
    "files",
    "keeping",
    "latest",
    "memory",
    "monthkeys",
    "pages",
    "providers",
    "ring",
    "sealing",
    "secret",
    "tokens",
]
