"""What a site lists in files of its own: codes that name nobody, and who lives where. Only texts are read here."""

__all__ = ["listed_codes", "residence"]
