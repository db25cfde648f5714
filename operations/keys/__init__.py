"""What is done about keys: proving that they open or do not any more, moving them, giving lost ones up."""

__all__ = ["check", "give_up", "migrate"]
