"""Raw values of a batch become one frame of text columns, one per declared field."""

__all__ = [
    "compiled_reader",
    "decode",
    "delimited",
    "diagnose",
    "json_columns",
    "json_validation",
    "record_kinds",
    "registry",
    "reshape",
]
