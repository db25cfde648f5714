"""The original of a record in integrity scope, and the raw form of one that was rejected. Content is in neither."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from integrity.canonical import CanonicalError, canonical, parse
from schemas.format import Format

RECEIVED = "received"
CANONICAL = "canonical"
FIELDS = "fields"
STRIPPED = "stripped"


@dataclass(frozen=True, slots=True)
class Original:
    """`form` is received (the bytes as they came) or canonical (RFC 8785, content fields taken out)."""

    form: str
    value: bytes


def original(message: bytes, index: int | None, has_content: bool, fmt: Format) -> Original:
    """The original of one record; raises `CanonicalError` when it needs a canonical form and has none."""
    if index is None and not has_content:
        return Original(RECEIVED, message)
    record: Any = parse(message)
    if index is not None:
        record = record[fmt.envelope or ""][index]
    return Original(CANONICAL, canonical(without_content(record, fmt)))


def without_content(record: dict[str, Any], fmt: Format) -> dict[str, Any]:
    """Take the declared content fields out of a parsed record (in place) and return it."""
    for spec in fmt.content:
        _remove(record, spec.path.split("."))
    return record


def _remove(node: Any, path: list[str]) -> None:
    name = path[0].removesuffix("[]")
    if not isinstance(node, dict) or name not in node:
        return
    if len(path) == 1:
        del node[name]
        return
    below = node[name]
    for one in below if isinstance(below, list) else [below]:
        _remove(one, path[1:])


def quarantined(message: bytes, index: int | None, fmt: Format) -> tuple[str, bytes]:
    """What the quarantine keeps of a rejected record, as (form, bytes): received, or stripped of content.

    A value that is JSON loses its content fields exactly; one that is not loses every text behind a content field's
    name, up to the quote that ends it or the end of the value.
    """
    if not fmt.content and index is None:
        return RECEIVED, message
    try:
        document = orjson.loads(message)
    except orjson.JSONDecodeError:
        cleaned = _scrub(message, fmt)
        return (RECEIVED if cleaned == message else STRIPPED), cleaned
    if index is not None:
        document = document[fmt.envelope]
        document = document[index] if index < len(document) else None
    records = document.get(fmt.envelope) if isinstance(document, dict) and fmt.envelope else None
    before = orjson.dumps(document)
    for record in records if isinstance(records, list) else [document]:
        if isinstance(record, dict):
            without_content(record, fmt)
    after = orjson.dumps(document)
    return (RECEIVED, message) if index is None and after == before else (STRIPPED, after)


def _scrub(message: bytes, fmt: Format) -> bytes:
    return _content_pattern(fmt).sub(rb'\1""', message)


@lru_cache(maxsize=256)
def _content_pattern(fmt: Format) -> re.Pattern[bytes]:
    """A content field's name, a colon, and its value: a string, or everything up to the end if it is a list or object."""
    names = b"|".join(sorted({re.escape(s.path.split(".")[-1].removesuffix("[]").encode()) for s in fmt.content}))
    text = rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)'
    return re.compile(rb'("(?:' + names + rb')"\s*:\s*)(?:' + text + rb"|[\[{].*\Z|[^\s,}\"\[{]+)", re.DOTALL)


__all__ = ["CANONICAL", "FIELDS", "RECEIVED", "STRIPPED", "CanonicalError", "Original", "original", "quarantined"]
