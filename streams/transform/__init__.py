"""Bytes in, rows out: decode, split, seal. Pure but for the keys; knows no table."""

__all__ = ["batch", "decode", "frames", "seal", "split", "split_by_batch", "text_columns", "transform"]
