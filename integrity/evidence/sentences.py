"""What an evidence file says of its record in plain words, as the product says it.

`verify_evidence.py` makes the same sentences with code of its own, and refuses a file that has others. Specified in
docs/integrity.md, section 8.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from lethe.schemas.errors import IntegrityError

_BUSINESS: Final = {"origin": "sender", "destination": "recipient"}
_KIND: Final = {"origin": "source_kind", "destination": "destination_kind"}
_FORMS: Final = {
    "received": "as it was received",
    "canonical": "without its content, in canonical JSON",
}


def party_text(value: str, pointer: str) -> str:
    """Name a party that the original names."""
    return f"{value} (field {pointer} of the original)"


def resolve(original: bytes, pointer: str) -> str:
    """Return the text or number at a JSON pointer (RFC 6901) of the original, as it is written there.

    Raises `IntegrityError` when the pointer leads nowhere, or to something else.
    """
    try:
        node: Any = json.loads(original, parse_int=str, parse_float=str)
        for step in _steps(pointer):
            node = node[int(step)] if isinstance(node, list) else node[step]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise IntegrityError(f"evidence: the pointer {pointer} leads nowhere in the original") from None
    if not isinstance(node, str):
        raise IntegrityError(f"evidence: the field {pointer} of the original holds no text")
    return node


def sentences(
    row: Mapping[str, Any],
    parties: Mapping[str, str],
    has_original: bool,
    origin: str,
    index: int,
    stamped: datetime | None,
    version: int,
    declared: bool,
    apart: bool = True,
) -> list[str]:
    """Write the summary of a record: one sentence an item, in the order of the specification.

    `row` is the archive row as the file has it, `parties` what `party_text` says by role, `origin` and `index` the log
    and the entry in it; `version` that of the file, `declared` whether it has the declaration of the record's format,
    `apart` whether the parties of such an original are looked for (`parties.taken_apart`).
    """
    position = [str(row[name]) for name in ("stream", "partition", "offset", "index") if name in row]
    when = str(row["event_time"])
    if "done_time" in row:
        when += f", completed {row['done_time']}"
    outcome = ", ".join(str(row[name]) for name in ("status_group", "status", "error") if name in row)
    form = _FORMS.get(str(row.get("original_form")), "in a form that is not known")
    original = f"in this file, {form}" if has_original else "not in this file"
    said = [
        f"Record {'/'.join(position)}: {row.get('direction')} {row.get('channel')}.",
        f"Date and time: {when} (UTC).",
        *(f"{role.capitalize()}: {_who(row, role, parties)}." for role in ("origin", "destination")),
        f"Status: {outcome or 'not recorded'}.",
        f"The original is {original}.",
        f"Proven by entry {index} of the log {origin}.",
    ]
    if stamped is not None:
        said.append(f"A time-stamp authority saw the log with this entry at {stamped:%Y-%m-%dT%H:%M:%S}Z.")
    if version == 1:
        return said
    if declared:
        said.append(
            f"What the fields of the original mean is what the declaration {row['format']}, version "
            f"{row['format_version']}, says, which was logged with the record."
        )
    return said + _limits(has_original, declared, apart, stamped is not None)


def _limits(has_original: bool, declared: bool, apart: bool, stamped: bool) -> list[str]:
    """Say what the file does not prove."""
    said = []
    if has_original and not declared:
        said.append("What the fields of the original mean is not proven: who is origin and destination.")
    if has_original and declared and not apart:
        said.append(
            "The original is of a shape in which origin and destination are not looked for: read them in it."
        )
    if not has_original:
        said.append(
            "Proven is the row as it was archived. What the original said and who the end users were is not: "
            "after the window nobody can prove it any more."
        )
    if not stamped:
        said.append(
            "Nobody outside vouches for the time: that the log is as old as it says, its signer alone says."
        )
    return said


def _who(row: Mapping[str, Any], role: str, parties: Mapping[str, str]) -> str:
    if role in parties:
        return parties[role]
    if _BUSINESS[role] in row:
        return f"business address {row[_BUSINESS[role]]}"
    if _KIND[role] in row:
        return f"{row[_KIND[role]]} of an end user, not disclosed here"
    return "not recorded"


def _steps(pointer: str) -> list[str]:
    if not pointer.startswith("/"):
        raise ValueError("a pointer begins with a slash")
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
