"""Why a value cannot be parsed. Slow and exact: it sees only values at fault, and answers by nothing else."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import orjson

from lethe.schemas.declaration.format import Format, bare
from lethe.streams.transform.batch import Reason

_DEEP: Final = 500
_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKETS: Final = re.compile(rb"[^\[\]{}]+")


def diagnose(value: bytes, fmt: Format) -> tuple[str, str | None]:
    """Say why one value cannot be parsed: (reason, detail); the detail names a declared field, never a value."""
    if value.isspace():
        return Reason.BLANK, None
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return Reason.NOT_UTF8, None
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        if "depth" in error.msg or depth(value) > _DEEP:
            return Reason.TOO_DEEP, None
        if "surrogate" in error.msg:
            return Reason.BAD_UNICODE, None
        if _is_document(text[: error.pos]) and text[error.pos :].strip():
            return Reason.TWO_DOCUMENTS, None
        return Reason.NOT_JSON, None
    if not isinstance(document, dict):
        return Reason.NOT_AN_OBJECT, None
    records = document.get(fmt.envelope) if fmt.envelope else None
    if records is not None and not isinstance(records, list):
        return Reason.WRONG_TYPE, fmt.envelope
    for record in records or [document]:
        if record is not None and not isinstance(record, dict):
            return Reason.NOT_AN_OBJECT, fmt.envelope
        if wrong := wrong_shape(record or {}, tree(fmt)):
            return Reason.WRONG_TYPE, wrong
    return (Reason.TOO_DEEP, None) if depth(value) > _DEEP else (Reason.WRONG_TYPE, None)


def _is_document(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def depth(value: bytes) -> int:
    """Return how deep brackets are nested outside of strings."""
    deepest = now = 0
    for bracket in _BRACKETS.sub(b"", _STRINGS.sub(b"", value)):
        now += 1 if bracket in b"[{" else -1
        deepest = max(deepest, now)
    return deepest


def is_json(value: bytes) -> bool:
    """Tell whether a value is one JSON object, strictly (RFC 8259) and not nested beyond measure."""
    try:
        return isinstance(orjson.loads(value), dict) and depth(value) <= _DEEP
    except orjson.JSONDecodeError:
        return False


def wrong_shape(record: dict[str, Any], shape: dict[str, Any], prefix: str = "") -> str | None:
    """Return the declared path that should be an object (or a list of objects) and is not."""
    for name, below in shape.items():
        listed = name.endswith("[]")
        value = record.get(bare(name))
        if name.endswith("[0]") and isinstance(value, list):
            value = value[0] if value else None
        if value is None or (below is None and not listed):
            continue
        path = f"{prefix}{name}"
        if listed and not isinstance(value, list):
            return path
        if below is None:
            continue
        for one in value if listed else [value]:
            if one is None:
                continue
            if not isinstance(one, dict):
                return path
            if wrong := wrong_shape(one, below, f"{path}."):
                return wrong
    return None


@lru_cache(maxsize=256)
def tree(fmt: Format) -> dict[str, Any]:
    """Return the declared paths as nested names; a leaf is None."""
    root: dict[str, Any] = {}
    for spec in fmt.fields:
        if fmt.within(spec):
            continue  # read from the text of the field around it, and only where it counts
        *parents, leaf = spec.path.split(".")
        node = root
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = None
    return root
