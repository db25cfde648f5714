"""Who is origin and who is destination of an original, by the logged declaration of its format alone.

`verify_evidence.py` finds the same with code of its own. Specified in docs/integrity.md, section 8.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

ROLES: Final = {
    "origin": ("sender", "caller", "source"),
    "destination": ("recipient", "callee", "destination"),
}

_IGNORES_CASE: Final = re.compile(r"\(\?[a-z]*i")
_NO_I: Final = str.maketrans("\u0130\u0131", "\u05d0\u05d1")  # letters that have no case


class _Twice:
    """What stands where a name was given twice: nobody can say which of the values counts."""


def parties_of(declaration: bytes, original: bytes, form: str) -> list[dict[str, str]]:
    """Return origin and destination, as far as the original names them: role, pointer (RFC 6901) and value of each.

    `declaration` is the canonical form that was logged, `form` that of the original (received or canonical). Of a role
    the first declared field counts that holds more than space; one that stands in for another only if that is empty.
    Where the condition of a swap holds, its two roles change places.
    """
    declared = json.loads(declaration)
    record = _record(declared, original, form)
    subjects = [spec for spec in declared["field"] if spec["class"] == "subject"]
    values = {spec["path"]: _value(record, spec["path"]) for spec in subjects}
    roles = swapped_roles(declared, record)
    found = []
    for role, names in ROLES.items():
        for spec in subjects:
            value = values[spec["path"]]
            if (
                roles.get(spec["role"], spec["role"]) in names
                and value
                and not values.get(spec.get("instead_of", ""))
            ):
                found.append({"role": role, "pointer": pointer(spec["path"]), "value": value})
                break
    return found


def swapped_roles(declared: Mapping[str, Any], record: Any) -> dict[str, str]:
    """Return what the roles that have changed places in a record are in it, by what they were declared to be."""
    encoded = bool(declared.get("percent_encoded"))
    pairs = [
        swap["roles"] for swap in declared.get("swap", ()) if _holds(record, swap["when"], encoded) is True
    ]
    return {role: other for one, two in pairs for role, other in ((one, two), (two, one))}


def _holds(record: Any, condition: Mapping[str, Any], encoded: bool) -> bool | None:
    """Tell whether a condition holds for a record; None where nobody can say, because what it asks is empty."""
    for name, decides in (("any", True), ("all", False)):
        if name in condition:
            answers = [_holds(record, one, encoded) for one in condition[name]]
            return decides if decides in answers else None if None in answers else not decides
    node = _node(record, condition["field"])
    written = json.dumps(node) if isinstance(node, bool | int | float) else node
    text = written.strip() if isinstance(written, str) else ""
    text = unquote(text).strip() if encoded else text
    if "present" in condition:
        return bool(text) is condition["present"]
    if not text:
        return None
    if "matches" in condition:
        return _matches(condition["matches"], text)
    name = "is" if "is" in condition else "is_not"
    return (text.lower() in [word.strip().lower() for word in condition[name]]) is (name == "is")


def _matches(pattern: str, text: str) -> bool:
    """Tell whether a pattern is found in a text, as the kernel does.

    Without regard to case Python takes the Turkish İ and ı for an i, Unicode's simple case folding does not.
    """
    if _IGNORES_CASE.search(pattern):
        pattern, text = pattern.translate(_NO_I), text.translate(_NO_I)
    return re.search(pattern, text) is not None


def pointer(path: str) -> str:
    """Return a declared path as a JSON pointer (RFC 6901); of a list its first element."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in _steps(path))


def _steps(path: str) -> Iterator[str]:
    for name in path.split("."):
        bare, bracket, _ = name.partition("[")
        yield bare
        if bracket:
            yield "0"


def taken_apart(declared: Mapping[str, Any], form: str) -> bool:
    """Tell whether the parties of an original are looked for: not where its record lies inside of what was received.

    A canonical form is always the record itself.
    """
    inside = any(declared.get(name) for name in ("unwrap", "each", "json_texts", "ignore_case"))
    return form != "received" or (not inside and declared.get("encoding", "json") in ("json", "csv"))


def _record(declared: Mapping[str, Any], original: bytes, form: str) -> Any:
    if not taken_apart(declared, form):
        return None
    try:
        if declared.get("encoding") == "csv" and form == "received":
            cells = next(csv.reader([original.decode().rstrip("\r")], strict=True), [])
            return dict(zip(declared["columns"], cells, strict=False))
        return json.loads(
            original.removeprefix(b"\xef\xbb\xbf"), object_pairs_hook=_once, parse_int=str, parse_float=str
        )
    except (ValueError, RecursionError, csv.Error):
        return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        found[name] = _Twice() if name in found else value
    return found


def _node(record: Any, path: str) -> Any:
    """Return what stands at a declared path; None where nothing does."""
    node = record
    for step in _steps(path):
        if isinstance(node, dict):
            node = node.get(step)
        elif isinstance(node, list) and step == "0" and node:
            node = node[0]
        else:
            return None
    return node


def _value(record: Any, path: str) -> str:
    """Return the text or number at a declared path, as it is written; "" where there is none."""
    node = _node(record, path)
    return node if isinstance(node, str) and node.strip() else ""
