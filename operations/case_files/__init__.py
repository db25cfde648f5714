"""The case file: what an investigation found, in one signed ZIP that anybody with a verifier key can check offline."""

__all__ = ["check", "make"]
