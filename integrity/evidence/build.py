"""Build the evidence file of one record: everything `verify_evidence.py` needs, and nothing it cannot check.

The file is handed out only if the code its reader will use accepts it (`check`). Specified in docs/integrity.md,
section 8.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from cryptography.x509 import Certificate

from lethe.integrity.evidence.check import check
from lethe.integrity.evidence.parties import parties_of, taken_apart
from lethe.integrity.evidence.sentences import party_text, resolve, sentences
from lethe.integrity.log import groups
from lethe.integrity.log.entries import Entry, Log
from lethe.integrity.log.signing import KeyHistory
from lethe.integrity.log.stamp import Stamped, claimed_at, stamped_at, stamps
from lethe.integrity.log.stamp import token as stamp_token
from lethe.integrity.log.store import Reader, open_checkpoint
from lethe.integrity.rows.canonical_rows import COLUMNS, Kind, encode
from lethe.integrity.verify.whole import Known, standing
from lethe.schemas.errors import IntegrityError, LetheError
from lethe.schemas.position import Position

FORMATS = {1: "lethe/evidence/v1", 2: "lethe/evidence/v2"}
"""By the version of the log entry: an entry of version 1 says nothing of what fields mean."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


Others = Callable[[int, int], pa.Table]
"""Archive rows of a record's topic-partition and month from the first to the last offset given, in scope or not."""


@dataclass(frozen=True, slots=True)
class Original:
    """The record as it was hashed, its salt, and where in it the parties stand.

    `declaration` is the canonical form of the declaration its row was made by, if the log entry names it. Where that
    entry is of version 1, `parties` are pairs of a role (`origin`, `destination`) and a JSON pointer (RFC 6901).
    """

    data: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    parties: Sequence[tuple[str, str]] = ()
    declaration: bytes | None = None


def build(
    row: pa.Table,
    reader: Reader,
    history: KeyHistory,
    origin: str,
    original: Original | None = None,
    stamp_roots: Sequence[Certificate] = (),
    others: Others | None = None,
) -> bytes:
    """Return the evidence file (UTF-8 JSON) of the one record in `row`, an archive table of one row.

    `reader` and `origin` are those of its topic-partition's log (of the log of replays, for one that was replayed),
    `original` is left out after the window. The
    oldest time stamp over the record's entry is added, if there is one. `others` is asked for the rows of the record's
    group, where the leaf file has only the hashes of groups. Raises `IntegrityError` when the row, the original or
    the log are not what was signed, when the record is not (or not yet) in the log, and when another row of its group
    is not as it was logged.
    """
    position = _position(row)
    log = Log(reader, history, origin)
    found = log.holding(position)
    if found is None:
        raise IntegrityError(f"{position} is not in the log yet: publish the log first")
    index, entry = found
    row_index, row_proof = _row_proof(log, entry, row, position, others)
    stamped = _oldest_stamp(reader, history, origin, index)
    if stamped:
        log = Log(reader, history, origin, stamped.note)

    json_row = row_to_json(row)
    version = 1 if entry.outside is None else 2
    file: dict[str, Any] = {"format": FORMATS[version], "summary": []}
    parties: dict[str, str] = {}
    declaration = original.declaration if original and version == 2 else None
    if original:
        file["original"] = {
            "form": json_row.get("original_form"),
            "bytes": base64.b64encode(original.data).decode(),
            "salt": base64.b64encode(original.salt).decode(),
        }
        if declaration is not None:
            file["declaration"] = declaration.decode()
            named = parties_of(declaration, original.data, str(json_row.get("original_form")))
        else:
            named = _parties(original) if version == 1 else []
        if named:
            file["parties"] = named
            parties = {p["role"]: party_text(p["value"], p["pointer"]) for p in named}
    file |= {
        "row": json_row,
        "row_proof": _proof(row_index, row_proof),
        "entry": entry_to_json(entry),
        "entry_proof": _proof(index, log.tiles.inclusion_proof(index)),
        "checkpoint": bytes(log.note).decode(),
    }
    time = None
    if stamped:
        token = stamp_token(stamped.response)
        file["time_stamp"] = base64.b64encode(token).decode()
        if stamp_roots:
            time = stamped_at(stamped.response, stamped.note, stamp_roots)
        else:
            time = claimed_at(stamped.response, stamped.note)
    file["key_history"] = [bytes(note).decode() for note in history.notes]
    file["summary"] = sentences(
        json_row,
        parties,
        original is not None,
        origin,
        index,
        time,
        version,
        declaration is not None,
        declaration is None or taken_apart(json.loads(declaration), str(json_row.get("original_form"))),
    )
    data = json.dumps(file, indent=1, ensure_ascii=False).encode() + b"\n"
    check(data, [str(key) for key in history.sets[-1].keys], stamp_roots)
    return data


def _position(row: pa.Table) -> Position:
    if row.num_rows != 1:
        raise ValueError("evidence is of one record")
    (values,) = row.select(["stream", "partition", "offset", "index"]).to_pylist()
    return Position(**values)


def _row_proof(
    log: Log, entry: Entry, row: pa.Table, position: Position, others: Others | None
) -> tuple[int, list[bytes]]:
    """Return the row's place in its commit and the proof of it, after comparing the row with what was logged."""
    known = Known.of(log, entry)
    at = (position.offset, position.index)
    index = next((n for n, r in enumerate(known.file.rows) if (r.offset, r.index) == at), None)
    if index is None:
        raise IntegrityError(f"{position} was not in integrity scope: the log holds nothing of it")
    number = next(n for n, group in enumerate(known.file.groups) if index < group.end)
    group = known.file.groups[number]
    first, last = known.file.rows[group.first], known.file.rows[group.end - 1]
    leaves = known.leaves(number)
    if leaves is None:
        beside = row if others is None else others(first.offset, last.offset)
        leaves = known.leaves_from(number, standing(beside))
    if leaves is None:
        raise IntegrityError(
            f"{position} cannot be proven: of the {group.size} rows in scope at offsets {first.offset} to "
            f"{last.offset}, which are proven together, one or more are not as they were logged. lethe verify says "
            "what it knows of them; bring their files back from the backup"
        )
    place = index - group.first
    try:
        leaf = encode(row).leaf_hashes()[0]
    except LetheError as error:
        raise IntegrityError(f"the archive row of {position} is altered: {error}") from None
    if leaf != leaves[place]:
        raise IntegrityError(f"the archive row of {position} is altered")
    return index, groups.prove(known.file.groups, number, leaves, place)


def _oldest_stamp(reader: Reader, history: KeyHistory, origin: str, index: int) -> Stamped | None:
    """Return the stamped checkpoint of the smallest size that holds entry `index`."""
    for stamped in stamps(reader):
        if open_checkpoint(stamped.note, history, origin)[1].size > index:
            return stamped
    return None


def _parties(original: Original) -> list[dict[str, str]]:
    return [
        {"role": role, "pointer": pointer, "value": resolve(original.data, pointer)}
        for role, pointer in sorted(original.parties, reverse=True)  # origin, then destination
    ]


def _proof(index: int, hashes: Sequence[bytes]) -> dict[str, Any]:
    return {"index": index, "hashes": [item.hex() for item in hashes]}


def entry_to_json(entry: Entry) -> dict[str, Any]:
    """Return a log entry as the evidence file has it: numbers, and hashes in hexadecimal."""
    said: dict[str, Any] = {
        "stream": entry.stream,
        "partition": entry.partition,
        "first_offset": entry.first_offset,
        "last_offset": entry.last_offset,
        "count": entry.commitment.count,
        "root": entry.commitment.root.hex(),
        "sha3_512": entry.commitment.sha3_512.hex(),
        "leaves": entry.leaves.hex(),
        "months": [str(month) for month in entry.months or ()],
        "version": entry.version,
    }
    if entry.outside is not None:
        told = entry.outside
        said["outside"] = {
            "count": told.commitment.count,
            "root": told.commitment.root.hex(),
            "file": told.file.hex(),
            "months": [str(month) for month in told.months or ()],
        }
        said["declarations"] = [digest.hex() for digest in entry.declarations]
    return said


def row_to_json(row: pa.Table) -> dict[str, Any]:
    """Return an archive row as the evidence file has it: nulls and `month` left out, each value in one spelling."""
    return {
        name: _value(row.column(name), kind)
        for name, (_, kind) in COLUMNS.items()
        if name in row.column_names and row.column(name).null_count == 0
    }


def _value(column: pa.ChunkedArray, kind: Kind) -> Any:
    if kind is Kind.TIMESTAMP:
        instant = _EPOCH + timedelta(microseconds=column.cast(pa.int64())[0].as_py())
        return instant.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    value = column[0].as_py()
    if kind is Kind.DECIMAL:
        return f"{value:.6f}"
    return value.hex() if kind is Kind.HASH else value
