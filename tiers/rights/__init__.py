"""Rights of the person: erasure, export, restriction."""

__all__ = ["clean", "erasure", "restrictions", "search", "spread", "subject_export", "under_way"]
