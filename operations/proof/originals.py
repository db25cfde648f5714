"""Compare archive rows with what the declaration of their format makes of their originals, inside the window.

A row that was forged before it was signed is proven like any other: only its original shows it. Whom the window's rows
name is compared as well (module `named`). Nothing of an original leaves this module but names of columns, so no audit
entry is written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lethe.integrity.evidence.build import row_to_json
from lethe.integrity.rows.hashes import integrity_hash, salt
from lethe.integrity.verify.findings import Finding, Kind
from lethe.operations.proof.named import Named
from lethe.operations.runtime import Runtime
from lethe.schemas.arrow import METADATA
from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Format
from lethe.schemas.errors import ConfigurationError, IntegrityError
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month
from lethe.streams.transform.batch import Batch, Source
from lethe.streams.transform.decode.reshape import plain
from lethe.tiers.archive.commit_rows import archive_rows
from lethe.tiers.commit import declarations
from lethe.tiers.window.records import Part, open_entries, open_parts, select_each

_FORMS: Final = ("received", "canonical")
_OF_THE_RECORD: Final = frozenset(
    {
        "event_time", "done_time", "channel", "direction", "parts", "duration_ms", "status_group", "permanent_error",
        "price", "currency", "price_unit", "charge", "charge_basis", "charged_duration_ms",
    }
)  # fmt: skip
"""Columns that follow from the record and its declaration alone."""
_NOT_COMPARED: Final = frozenset(
    {"stream", "partition", "offset", "index", "integrity_hash", "original_form", "format", "format_version", "month",
     "ingested_at", "late"}
)  # fmt: skip
_CERTAIN: Final = tuple(sorted(_OF_THE_RECORD & set(METADATA.names)))
_SETTINGS: Final = tuple(n for n in METADATA.names if n not in _OF_THE_RECORD | _NOT_COMPARED)
"""Columns that settings of the site have a part in as well, which may have changed since: a difference is no proof."""

Original = tuple[Position, str, bytes]
"""A record's position, the form of its original, and the original."""


@dataclass(slots=True)
class Compared:
    """How many rows were compared with their originals, and how many could not be: their declaration is not known."""

    rows: int = 0
    unknown: int = 0
    logged: dict[tuple[str, int], Format] | None = field(default=None, repr=False)


def compare_originals(
    runtime: Runtime,
    stream: str | None,
    months: tuple[Month | None, Month | None],
    report: Compared,
    tick: Callable[[int], None] = lambda _rows: None,
) -> Iterator[Finding]:
    """Yield every row in scope that is not what its declaration makes of its original; of one stream, or all.

    Only months whose keys open are looked at, page by page.
    """
    originals = runtime.warehouse.window["originals"]
    for part in open_parts(runtime.ring, runtime.clock()):
        if (months[0] and part.month < months[0]) or (months[1] and part.month > months[1]):
            continue
        chosen = part.rows if stream is None else part.rows & (pc.field("stream") == stream)
        named = Named(runtime.warehouse.window["identifiers"], part)
        for page in select_each(originals, chosen):
            yield from _page(runtime, part, page, report, named)
            if named.full:
                yield from named.compare()
            tick(report.rows)
        yield from named.compare()


def differences(runtime: Runtime, original: Original, row: Mapping[str, Any]) -> list[str]:
    """Name the columns of an archive row, as evidence has it, that are not what its declaration makes of its original.

    Only columns that follow from the record alone are compared; none where the declaration is not known any more.
    """
    declared = _declared(runtime, (row["format"], row["format_version"]), Compared())
    if declared is None:
        return []
    made = _made(runtime, declared, [original], [row])[0]
    if made is None:
        return ["all"]
    return _differ(row_to_json(pa.Table.from_pylist([made.row], schema=METADATA)), row, _CERTAIN)


@dataclass(slots=True)
class _Made:
    """What a declaration makes of one original: its archive row, and the rows of whom it names."""

    row: dict[str, Any]
    names: list[dict[str, Any]] = field(default_factory=list)


def _page(
    runtime: Runtime, part: Part, page: Mapping[str, Any], report: Compared, named: Named
) -> Iterator[Finding]:
    topic_partition = page["stream"], page["partition"]
    offsets = page["first_offset"], page["last_offset"]
    rows = archive_rows(runtime.warehouse, topic_partition, part.month, *offsets)
    known = {
        (row["offset"], row["index"]): row for row in rows.to_pylist() if row["integrity_hash"] is not None
    }
    kinds: dict[tuple[str, int], list[Original]] = {}
    for entry in open_entries(dict(page), part.keys).to_pylist():
        row = known.get((entry["offset"], entry["index"]))
        if row is None or entry["form"] not in _FORMS:
            continue  # a row that is missing is the business of the log
        position = Position(*topic_partition, entry["offset"], entry["index"])
        hashed = integrity_hash(salt(part.keys.salt_key.reveal(), str(position)), entry["value"])
        if hashed != row["integrity_hash"]:
            yield Finding(Kind.ALTERED, str(position), "its original is not the one whose hash it has")
            continue
        kind = row["format"], row["format_version"]
        kinds.setdefault(kind, []).append((position, entry["form"], entry["value"]))
    for kind, some in kinds.items():
        declared = _declared(runtime, kind, report)
        if declared is None:
            report.unknown += len(some)
            continue
        report.rows += len(some)
        theirs = [known[position.offset, position.index] for position, _, _ in some]
        all_made = _made(runtime, declared, some, theirs)
        for (position, _, _), row, made in zip(some, theirs, all_made, strict=True):
            yield from _compared(position, None if made is None else made.row, row)
            if made is not None:
                named.add(position, made.names)


def _compared(
    position: Position, made: Mapping[str, Any] | None, row: Mapping[str, Any]
) -> Iterator[Finding]:
    if made is None:
        yield Finding(Kind.NOT_PROVEN, str(position), "its declaration makes no row of its original")
        return
    if wrong := _differ(made, row, _CERTAIN):
        detail = f"not what its declaration makes of its original: {', '.join(wrong)}"
        yield Finding(Kind.ALTERED, str(position), detail)
    if other := _differ(made, row, _SETTINGS):
        detail = f"not what declaration and settings of today make of its original: {', '.join(other)}"
        yield Finding(Kind.NOT_PROVEN, str(position), detail)


def _differ(made: Mapping[str, Any] | None, row: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    return [name for name in columns if (made or {}).get(name) != row.get(name)]


def _made(
    runtime: Runtime, declared: Format, some: Sequence[Original], rows: Sequence[Mapping[str, Any]]
) -> list[_Made | None]:
    """Return what is made of each original, None where that is no archive row; `rows` are those that there are."""
    found: list[_Made | None] = [None] * len(some)
    for form in _FORMS:
        mine = [at for at, one in enumerate(some) if one[1] == form]
        if mine:
            # The canonical form is that of one record, taken out of its value and its envelope.
            fmt = declared if form == "received" else plain(declared).model_copy(update={"envelope": None})
            times = np.array([_latest_ms(rows[at]) for at in mine], np.int64)
            for at, row in _rows(runtime, fmt, [some[at] for at in mine], times).items():
                found[mine[at]] = row
    return found


def _latest_ms(row: Mapping[str, Any]) -> int:
    """Return the latest of a row's own times, in milliseconds since 1970.

    A time that says no year is of the one in which it came. When that was is not in an original: what it says is held
    against the year that the row has, which the log proves.
    """
    times = [row[name] for name in ("event_time", "done_time") if row.get(name) is not None]
    instants = [datetime.fromisoformat(time) if isinstance(time, str) else time for time in times]
    return int(max(instants).timestamp() * 1000)


def _rows(
    runtime: Runtime, fmt: Format, some: Sequence[Original], received_ms: npt.NDArray[np.int64]
) -> dict[int, _Made]:
    position, count = some[0][0], len(some)
    source = Source(position.stream, position.partition, f"originals/{position.stream}", fmt.name)
    values: list[bytes | None] = [value for _, _, value in some]
    batch = Batch(source, 0, 0, 0, count - 1, np.arange(count, dtype=np.int64), values, received_ms)
    made = runtime.transform.process(batch, fmt)
    rows = {row["offset"]: _Made(row) for row in made.metadata.to_pylist()}
    for name in made.identifiers.to_pylist():
        rows[name["offset"]].names.append(name)
    return rows


def _declared(runtime: Runtime, kind: tuple[str, int], report: Compared) -> Format | None:
    """Return the declaration of a format and version: the one that was logged, if it is there, else that of today."""
    if report.logged is None:
        report.logged = {(one.name, one.version): one for one in reversed([*_logged(runtime)])}
    return report.logged.get(kind) or _today(kind)


def _logged(runtime: Runtime) -> Iterator[Format]:
    for path in runtime.objects.list(declarations.FOLDER):
        try:
            text = declarations.read(runtime.objects, bytes.fromhex(path.rpartition("/")[2]))
            yield Format.model_validate(json.loads(text))
        except (IntegrityError, ValueError):
            continue  # `lethe verify` names it; one of a later release may have fields that are not known here


def _today(kind: tuple[str, int]) -> Format | None:
    try:
        declared = formats.get_format(kind[0])
    except ConfigurationError:
        return None
    return declared if declared.version == kind[1] else None
