"""Values of other shapes become JSON records: lines of columns or pairs, records inside of wrappers, texts and lists.

One value after the other, so it is for the formats that declare it alone. Of equal names in a wrapper the last counts.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import copy
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from lethe.schemas.declaration.format import Format, bare
from lethe.streams.transform.batch import Reason
from lethe.streams.transform.decode.delimited import read_line
from lethe.streams.transform.decode.diagnose import diagnose, tree
from lethe.streams.transform.decode.log_lines import cut_line

MARK: Final = b"\xef\xbb\xbf"  # U+FEFF, the byte-order mark
_MOST_RECORDS: Final = 10_000
_MOST_COPIED: Final = 500_000  # members around the elements of lists, for all of them together
_MOST_TIMES: Final = (
    32  # how many times as large as its value all records of it may be, each with what is around it
)
_VALUE: Final = r'(?:"((?:[^"\\]|\\.)*)"|([^{sep}]*))'
_USUAL_64: Final = str.maketrans("-_", "+/")
_IN_BRACKETS: Final = re.compile(r"\[([^\[\]]+)\]")  # a member in a form: `price[amount]`
_LONG: Final = re.compile(rb"[0-9]{19}")
Load = Callable[[bytes], Any]


class Shapeless(Exception):  # noqa: N818  (a value, not a fault of ours)
    """A value that holds no record of the declared shape: `reason` and, at most, a declared name."""

    def __init__(self, reason: str, detail: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


Found = tuple[int | None, Any]
"""One record of a value: its place among several, None for one that came alone; and what was parsed."""


def inner(fmt: Format) -> Format:
    """Return the format of records that have been taken out of their values already."""
    return _inner(fmt, bool(fmt.each))


def plain(fmt: Format) -> Format:
    """Return the format of one record that has been taken out of its value already."""
    return _inner(fmt, False)


@lru_cache(maxsize=256)
def _inner(fmt: Format, several: bool) -> Format:
    nothing = {"columns": (), "optional_columns": 0, "headings": False, "separator": " ", "lines": (),
               "skip_lines": (), "unwrap": (), "json_texts": (), "ignore_case": False}  # fmt: skip
    each = ("[]",) if several else ()
    return fmt.model_copy(update={**nothing, "encoding": "json", "each": each})


def records(value: bytes, fmt: Format, load: Load | None = None) -> list[Found]:
    """Return the records of a value, as parsed JSON; raises `Shapeless`. `load`: a parser other than the usual one."""
    value = value.removeprefix(MARK)
    if fmt.encoding != "json":
        return [(None, _line(value, fmt))]
    document = _loaded(value, fmt, load)
    for path in fmt.unwrap:
        document = _unwrapped(document, path, fmt, load)
    for path in fmt.json_texts:
        _open_texts(document, path.split("."), fmt, load)
    found: list[Found] = _each(document, fmt) if fmt.each else [(None, document)]
    if fmt.ignore_case:
        found = [(index, _respelt(one, tree(fmt))) for index, one in found]
    return found


def written(record: Any) -> bytes:
    """Write a record as JSON; raises `Shapeless` for one that is nested too deeply."""
    try:
        return orjson.dumps(record)
    except orjson.JSONEncodeError:  # a whole number beyond 64 bits, or too deep
        try:
            return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
        except UnicodeEncodeError:
            raise Shapeless(Reason.BAD_UNICODE) from None
        except (RecursionError, ValueError):
            raise Shapeless(Reason.TOO_DEEP) from None


def taken_apart(value: bytes, fmt: Format) -> Iterator[tuple[int | None, bytes]]:
    """Yield each record of a value as (index, JSON); raises `Shapeless`, also for values that grow beyond measure."""
    left = _MOST_TIMES * max(len(value), 1024)
    for index, record in records(value, fmt):
        text = written(record)
        left -= len(text)
        if left < 0:
            raise Shapeless(Reason.TOO_LARGE)
        yield index, text


def _loaded(value: bytes, fmt: Format, load: Load | None) -> Any:
    if load is not None:
        return load(value)
    try:
        return json.loads(value) if _LONG.search(value) else orjson.loads(value)
    except (ValueError, RecursionError):
        raise Shapeless(*diagnose(value, plain(fmt))) from None


def _unwrapped(document: Any, path: str, fmt: Format, load: Load | None) -> Any:
    for step in path.split("."):
        name = bare(step)
        document = document.get(name) if isinstance(document, dict) else None
        if name != step:
            document = document[0] if isinstance(document, list) and document else None
    if isinstance(document, str):
        document = _loaded(_decoded(document), fmt, load)
    if document is None:
        raise Shapeless(Reason.MISSING, path)
    if not isinstance(document, dict | list):
        raise Shapeless(Reason.WRONG_TYPE, path)
    return document


def _decoded(text: str) -> bytes:
    """Return what a text holds: JSON as it is, or in base64 as Pub/Sub and Kinesis hand it on."""
    if not text.lstrip().startswith(("{", "[")):
        with suppress(ValueError):
            bare_text = text.strip().rstrip("=").translate(_USUAL_64)
            found = b64decode(bare_text + "=" * (-len(bare_text) % 4), validate=True)
            if found.lstrip().startswith((b"{", b"[")):
                return found
    return text.encode("utf-8", "surrogatepass")


def _open_texts(node: Any, steps: list[str], fmt: Format, load: Load | None) -> None:
    """Replace texts at a path by the JSON they hold; one that holds none is left as it is."""
    if isinstance(node, list):
        for one in node:
            _open_texts(one, steps, fmt, load)
    elif isinstance(node, dict) and (name := bare(steps[0])) in node:
        if len(steps) > 1:
            _open_texts(node[name], steps[1:], fmt, load)
        elif isinstance(text := node[name], str) and text.lstrip().startswith(("{", "[")):
            try:
                node[name] = _loaded(text.encode("utf-8", "surrogatepass"), fmt, load)
            except Shapeless:
                return


def _each(document: Any, fmt: Format) -> list[Found]:
    """Return one record for each element of the declared lists, with what is around it; the other elements left out.

    A document that has single objects where the lists are declared is one record: what was taken apart is read again.
    """
    several = isinstance(document, list)
    found: list[Any] = []
    left = [_MOST_COPIED]
    for one in document if several else [document]:
        if not isinstance(one, dict):
            found.append(one)
            continue
        for path in fmt.each:
            if path != "[]":
                listed, some = _elements(one, path.split("."), fmt.each, left)
                several |= listed
                found += some
        if "[]" in fmt.each:
            found.append(one)
        if len(found) > _MOST_RECORDS:
            raise Shapeless(Reason.TOO_LARGE)
    if not found:
        raise Shapeless(Reason.EMPTY_ENVELOPE)
    several |= len(found) > 1
    return [(at if several else None, one) for at, one in enumerate(found)]


def _elements(
    node: dict[str, Any], steps: list[str], others: tuple[str, ...], left: list[int]
) -> tuple[bool, list[Any]]:
    """Return whether there is a list on the way, and copies of the node that hold one element of it each.

    `left`: how many members may still be copied, counted down; raises `Shapeless` when that are too many.
    """
    name, *below = bare(steps[0]), *steps[1:]
    if name not in node:
        return False, []
    around = {key: value for key, value in node.items() if key == name or not _is_list_of(key, steps, others)}
    listed = isinstance(node[name], list) and name != steps[0]
    found: list[Any] = []
    for one in node[name] if listed else [node[name]]:
        inside = [one]
        if below:
            if not isinstance(one, dict):
                continue
            deeper, inside = _elements(one, below, others, left)
            listed |= deeper
        for element in inside:
            left[0] -= len(around)
            if left[0] < 0:
                raise Shapeless(Reason.TOO_LARGE)
            mine = copy(around)
            mine[name] = element
            found.append(mine)
    return listed, found


def _is_list_of(key: str, steps: list[str], others: tuple[str, ...]) -> bool:
    """Tell whether a member beside a list of records is another one: its elements are records of their own."""
    return len(steps) == 1 and any(path.split(".")[-1] == f"{key}[]" for path in others)


def _respelt(node: Any, shape: dict[str, Any]) -> Any:
    """Give declared members the names they are declared by, whatever the case they are written in."""
    if isinstance(node, list):
        return [_respelt(one, shape) for one in node]
    if not isinstance(node, dict):
        return node
    declared = {bare(name).casefold(): (bare(name), below) for name, below in shape.items()}
    found: dict[str, Any] = {}
    for name, value in node.items():
        known, below = declared.get(name.casefold(), (name, None))
        if known not in found:
            found[known] = value if below is None else _respelt(value, below)
    return found


def _line(value: bytes, fmt: Format) -> dict[str, Any]:
    """Read a line of columns or of pairs as a record; raises `Shapeless`."""
    if fmt.encoding in ("csv", "combined", "lines"):
        cells = cut_line(value, fmt) if fmt.lines else read_line(value, fmt)
        if isinstance(cells, str):
            raise Shapeless(cells)
        return dict(cells)
    try:
        text = value.decode("utf-8").strip("\r\n")
    except UnicodeDecodeError:
        raise Shapeless(Reason.NOT_UTF8) from None
    if "=" not in text:
        raise Shapeless(Reason.WRONG_COLUMNS)
    if fmt.encoding == "form":
        sent = parse_qsl(text, keep_blank_values=True, errors="replace")
        pairs = {_IN_BRACKETS.sub(r".\1", name): value for name, value in reversed(sent)}
    else:
        pairs = _pairs(text, fmt.separator)
    if not pairs:
        raise Shapeless(Reason.WRONG_COLUMNS)
    return _nested(pairs, fmt)


def _pairs(text: str, separator: str) -> dict[str, str]:
    begin = r'([^\s="]+)=' if separator == " " else r'([^={sep}"]+)=[ \t]*'
    between = r"\s" if separator == " " else re.escape(separator)
    pattern = (begin + _VALUE).replace("{sep}", between)
    found: dict[str, str] = {}
    for match in re.finditer(pattern, text):
        quoted, unquoted = match[2], match[3]
        value = unquoted.strip() if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        found.setdefault(match[1].strip(), value)
    return found


def _nested(pairs: dict[str, str], fmt: Format) -> dict[str, Any]:
    """Put pairs where their declared paths say; the others stay as they are."""
    names = {name.casefold(): name for name in reversed(pairs)} if fmt.ignore_case else {}
    found: dict[str, Any] = {}
    for spec in fmt.fields:
        name = spec.path if not fmt.ignore_case else names.get(spec.path.casefold(), "")
        if name not in pairs:
            continue
        *parents, leaf = spec.path.split(".")
        node = found
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = pairs.pop(name)
    return pairs | found


__all__ = ["Found", "Shapeless", "inner", "plain", "records", "taken_apart", "written"]
