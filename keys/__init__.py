"""Month keys: the ring, the providers that hold key-encryption keys, tokens and sealing."""
