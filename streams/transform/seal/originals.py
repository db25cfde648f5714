"""The original of a record in integrity scope, and the raw form of one that was rejected. Content is in neither."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from lethe.integrity.rows.canonical_json import CanonicalError, canonical, parse
from lethe.schemas.declaration.format import Format, bare
from lethe.streams.transform.decode.log_lines import cut_lines, record_of
from lethe.streams.transform.decode.reshape import MARK, Shapeless, records, written

RECEIVED = "received"
CANONICAL = "canonical"
FIELDS = "fields"
STRIPPED = "stripped"


class Original(NamedTuple):
    """`form` is received (the bytes as they came) or canonical (RFC 8785, content fields taken out)."""

    form: str
    value: bytes

    def __repr__(self) -> str:
        return f"Original(form={self.form!r})"


def always_received(fmt: Format) -> bool:
    """Tell whether the original of a record that came alone is always the bytes as they came: nothing in it is
    content.
    """
    return not fmt.content


def original(message: bytes, index: int | None, has_content: bool, fmt: Format) -> Original:
    """Return the original of one record; raises `CanonicalError` when it needs a canonical form and has none."""
    # Where names of fields do not show in the value, what may hold content is always read strictly.
    hidden = bool(fmt.content) if fmt.reshaped else _may_hide_content(message, fmt)
    if index is None and not has_content and not hidden:
        return Original(RECEIVED, message)
    if fmt.reshaped:
        return Original(CANONICAL, canonical(_reshaped(message, index, fmt)))
    record: Any = _parsed(message, fmt)
    if index is not None:
        record = record[fmt.envelope or ""][index]
    return Original(CANONICAL, canonical(without_content(record, fmt)))


def of_lines(lines: list[bytes], fmt: Format) -> list[Original]:
    """Return the canonical originals of lines of a log that have been read already, all of them at once."""
    found = cut_lines([line.removeprefix(MARK) for line in lines], fmt).parts.to_dicts()
    return [Original(CANONICAL, canonical(without_content(record_of(parts), fmt))) for parts in found]


class _Several(list[Any]):
    """The values of a member that was given several times, in their order."""


def _parsed(message: bytes, fmt: Format) -> Any:
    """Parse a record strictly, but for members given several times where nothing but window fields is declared.

    Of those the canonical form holds a list of their values. Raises `CanonicalError`.
    """
    message = message.removeprefix(b"\xef\xbb\xbf")
    try:
        return parse(message)
    except CanonicalError as error:
        if str(error) != "duplicate-key":
            raise
    try:
        record = json.loads(message, object_pairs_hook=_merged)
    except RecursionError:
        raise CanonicalError("too-deep") from None
    except ValueError:
        raise CanonicalError("not-json") from None
    for spec in fmt.fields:
        # A field that only stands in for another may be among them too.
        if (
            spec.class_ != "window"
            and spec.instead_of is None
            and _is_twice(record, spec.path.split("."), fmt.envelope)
        ):
            raise CanonicalError("duplicate-key")
    return record


def _merged(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in found:
            found[name] = value
        elif isinstance(found[name], _Several):
            found[name].append(value)
        else:
            found[name] = _Several([found[name], value])
    return found


def _is_twice(node: Any, path: list[str], envelope: str | None = None) -> bool:
    """Tell whether a member on the way to a declared field was given several times."""
    if isinstance(node, _Several):
        return True
    if isinstance(node, list):
        return any(_is_twice(one, path) for one in node)
    if not isinstance(node, dict):
        return False
    if envelope and envelope in node and _is_twice(node[envelope], path):
        return True
    return bool(path) and _is_twice(node.get(bare(path[0])), path[1:])


def _reshaped(message: bytes, index: int | None, fmt: Format) -> Any:
    """Return one record of a value without content, read strictly; raises `CanonicalError`."""
    try:
        record = _all_reshaped(message, fmt)[index]
    except (Shapeless, KeyError):
        raise CanonicalError("not-json") from None
    if not isinstance(record, dict):
        raise CanonicalError("not-an-object")
    return record


@lru_cache(maxsize=1)  # one value after the other, and of each all its records
def _all_reshaped(message: bytes, fmt: Format) -> dict[int | None, Any]:
    found = records(message, fmt, _strictly)
    return {at: without_content(one, fmt) if isinstance(one, dict) else one for at, one in found}


def _strictly(text: bytes) -> Any:
    return parse(b'{"value":' + text + b"}")["value"]


def _may_hide_content(message: bytes, fmt: Format) -> bool:
    """Tell whether content could be in a record whose content fields all read as empty.

    The parser takes the first of two equal names: a second one, or one written with escapes, could hold text that
    nobody has seen. Such a record is read strictly, which refuses equal names.
    """
    names = _content_names(fmt)
    if not names:
        return False
    return b"\\u00" in message or any(message.count(name) > 1 for name in names)


@lru_cache(maxsize=256)
def _content_names(fmt: Format) -> tuple[bytes, ...]:
    """Return the names on the way to content, as they stand in JSON; none where a format has no content."""
    steps = {bare(step) for spec in fmt.content for step in spec.path.split(".")}
    return tuple(sorted(b'"' + orjson.dumps(step)[1:-1] + b'"' for step in steps))


def without_content(record: dict[str, Any], fmt: Format) -> dict[str, Any]:
    """Take the declared content fields out of a parsed record (in place) and return it."""
    for spec in fmt.content:
        _remove(record, spec.path.split("."))
    return record


def _remove(node: Any, path: list[str]) -> None:
    name = bare(path[0])
    if not isinstance(node, dict) or name not in node:
        return
    below = node[name]
    # Text where an object should be is neither declared nor known to be harmless.
    if len(path) == 1 or not isinstance(below, dict | list):
        del node[name]
        return
    for one in below if isinstance(below, list) else [below]:
        _remove(one, path[1:])


def quarantined(message: bytes, index: int | None, fmt: Format) -> tuple[str, bytes] | None:
    """Return what the quarantine keeps of a rejected record, as (form, bytes): received, or stripped of content.

    A value that can be read loses its content fields exactly; JSON that is broken loses every text behind a content
    field's name, up to the quote that ends it or the end of the value. None where content cannot be told apart.
    """
    if not fmt.content and index is None:
        return RECEIVED, message
    if b"\0" in message:  # framed, or in another encoding: names of fields do not show in it
        return None
    if fmt.reshaped:
        return _quarantined_record(message, index, fmt)
    try:
        document = orjson.loads(message)
    except orjson.JSONDecodeError:
        return _scrubbed(message, fmt)
    if not isinstance(document, dict | list):
        return None  # a bare text may be all content
    if index is not None and isinstance(document, dict):
        listed = document.get(fmt.envelope)
        document = listed[index] if isinstance(listed, list) and index < len(listed) else None
    try:
        before = orjson.dumps(document)
        _strip(document, fmt)
        after = orjson.dumps(document)
    except orjson.JSONEncodeError:  # nested deeper than it can be written again
        return _scrubbed(message, fmt) if index is None else None
    if index is None and after == before:
        # Equal names: the reader above has seen only the last of them, so what is kept is what it has seen.
        return (STRIPPED, after) if _may_hide_content(message, fmt) else (RECEIVED, message)
    return STRIPPED, after


def _quarantined_record(message: bytes, index: int | None, fmt: Format) -> tuple[str, bytes] | None:
    """Return what the quarantine keeps of a record in a value of another shape; None where it is not found."""
    try:
        found = records(message, fmt)
        kept = [without_content(one, fmt) if isinstance(one, dict) else None for _, one in found]
        places = [at for at, _ in found]
        if index is None:
            return STRIPPED, written(kept[0] if places == [None] else kept)
        return STRIPPED, written(kept[places.index(index)])
    except (Shapeless, ValueError):
        return None


def _strip(document: Any, fmt: Format) -> None:
    """Take content out wherever a record could be: alone, in an envelope, in a bare list."""
    if isinstance(document, list):
        for one in document:
            _strip(one, fmt)
    elif isinstance(document, dict):
        without_content(document, fmt)
        if fmt.envelope and (wrapped := document.get(fmt.envelope)) is not None:
            if isinstance(wrapped, dict | list):
                _strip(wrapped, fmt)
            else:
                del document[fmt.envelope]


def _scrubbed(message: bytes, fmt: Format) -> tuple[str, bytes] | None:
    if b"\\u00" in message or not message.lstrip().startswith((b"{", b"[")):
        return None  # a name may be written with escapes: what cannot be recognised cannot be taken out
    cleaned = _content_pattern(fmt).sub(rb'\1""', message)
    return (RECEIVED if cleaned == message else STRIPPED), cleaned


@lru_cache(maxsize=256)
def _content_pattern(fmt: Format) -> re.Pattern[bytes]:
    """Return a pattern for a content field's name, a colon, and its value: a string, or everything to the end if it
    is a list or object.
    """
    names = b"|".join(sorted({re.escape(bare(s.path.split(".")[-1]).encode()) for s in fmt.content}))
    text = rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)'
    return re.compile(rb'("(?:' + names + rb')"\s*:\s*)(?:' + text + rb"|[\[{].*\Z|[^\s,}\"\[{]+)", re.DOTALL)


__all__ = [
    "CANONICAL",
    "FIELDS",
    "RECEIVED",
    "STRIPPED",
    "CanonicalError",
    "Original",
    "always_received",
    "of_lines",
    "original",
    "quarantined",
]
