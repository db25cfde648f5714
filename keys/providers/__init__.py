"""Where key-encryption keys live: the interface, and the providers that implement it."""

__all__ = ["aws", "choice", "gcp", "interface", "local", "pkcs11", "vault"]
