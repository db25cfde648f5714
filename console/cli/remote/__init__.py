"""Commands through the service (`LETHE_SERVER`): what is asked of it, how it is reached, and who is signed in."""

__all__ = ["calls", "server", "session_file"]
