"""The pages, a module for each place in the menu. None holds a rule: they parse, call an operation, and show."""

__all__ = ["accounts", "approvals", "boards", "cases", "search", "sign_in"]
