"""Rights of the person: erasure, export, restriction."""

__all__ = ["clean", "erasure", "restrictions", "subject_export"]
