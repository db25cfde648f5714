"""Try a declaration on sample records: what of each would go where, without a warehouse and with throw-away keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from lethe.integrity.evidence.parties import swapped_roles
from lethe.keys.providers.local import LocalProvider
from lethe.keys.ring import KeyRing
from lethe.operations.intake.received import Received, received
from lethe.schemas.declaration.format import FieldSpec, Format, canonical
from lethe.schemas.declaration.vocabulary import OTHER_END
from lethe.schemas.retention.calendar import Month
from lethe.schemas.retention.policy import RetentionPolicy
from lethe.streams.transform.batch import Batch, Source
from lethe.streams.transform.decode.reshape import records
from lethe.streams.transform.split.rules import Rules
from lethe.streams.transform.transform import Transform
from lethe.tiers.store.objects import open_objects
from lethe.tiers.window.usage import opened

_USAGE: Final = ("account", "action", "method", "path", "status")
_ARCHIVE_ONLY: Final = frozenset(
    {
        "stream",
        "partition",
        "offset",
        "index",
        "format",
        "format_version",
        "month",
        "integrity_hash",
        "original_form",
    }
)
_LIMIT: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Placed:
    """One value of a record: `part` is archive, window, nowhere (content) or undeclared."""

    path: str
    part: str
    goes_to: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one record; `archive` is its row, empty if it was refused."""

    record: str
    reason: str | None
    detail: str | None
    archive: dict[str, Any] = field(repr=False)
    redacted: str | None
    fields: list[Placed] = field(repr=False)


def try_out(
    values: list[bytes | None], fmt: Format, folder: Path, up_to: Received | None = None
) -> list[Outcome]:
    """Split sample values under the longest retention there is, so that old samples keep their identifiers.

    `up_to`: when the last of them were received, where their times say no year (`received_of`).
    """
    now = datetime.now(UTC)
    ring = KeyRing(
        LocalProvider.initialise(folder / "keys"), open_objects(str(folder / "warehouse"), {}), lambda: now
    )
    rules = Rules(RetentionPolicy(window_months=120, archive_years=100), "none", timedelta(days=1))
    batch = _batch(values, fmt, -1 if up_to is None else up_to.milliseconds)
    found = Transform(ring, rules, _LIMIT, lambda: now).process(batch, fmt)
    people = {
        (r["offset"], r["index"], r["role"]) for r in found.identifiers.to_pylist() if r["token"] is not None
    }
    outcomes = []
    for row in found.metadata.to_pylist():
        place = (row["offset"], row["index"])
        shown = {k: v for k, v in row.items() if v is not None and k not in _ARCHIVE_ONLY and k != "redacted"}
        roles = {role for offset, index, role in people if (offset, index) == place}
        outcomes.append(
            Outcome(
                _name(*place),
                None,
                None,
                shown,
                row["redacted"],
                _fields(values, place, fmt, shown, row["redacted"], roles),
            )
        )
    for row in found.usage.to_pylist():
        place = (row["offset"], row["index"])
        keys = ring.keys_for(Month.parse(row["month"]), row["window_months"])
        done = {k: v for k, v in opened(row, keys).items() if k in _USAGE and v is not None}
        outcomes.append(
            Outcome(_name(*place), None, None, done, None, _fields(values, place, fmt, done, None, set()))
        )
    for row in found.quarantine.to_pylist():
        place = (row["offset"], row["index"])
        outcomes.append(Outcome(_name(*place), row["reason"], row["detail"], {}, None, []))
    return sorted(outcomes, key=lambda o: [int(part) for part in o.record.split("/")])


def received_of(path: str, values: list[bytes | None], fmt: Format, day: date | None) -> Received | None:
    """Say up to when the records of a sample were received, as `lethe ingest` would; None where all say their year."""
    return received(path, fmt, lambda: [_batch(values, fmt, -1)], day, datetime.now(UTC))


def _batch(values: list[bytes | None], fmt: Format, received_ms: int) -> Batch:
    count = len(values)
    return Batch(
        Source("sample", 0, "sample/0", fmt.name), 0, 1, 0, count - 1, np.arange(count, dtype=np.int64), values,
        np.full(count, received_ms, np.int64),
    )  # fmt: skip


def _name(offset: int, index: int | None) -> str:
    """Name a line as an editor counts, from one; places in an envelope count from nought as in a record's name."""
    return f"{offset + 1}" if index is None else f"{offset + 1}/{index}"


def _fields(
    values: list[bytes | None],
    place: tuple[int, int | None],
    fmt: Format,
    row: dict[str, Any],
    redacted: str | None,
    roles: set[str],
) -> list[Placed]:
    value = values[place[0]] or b""
    if fmt.reshaped:
        record: Any = dict(records(value, fmt))[place[1]]
    else:
        record = orjson.loads(value)
        if place[1] is not None:
            record = record[fmt.envelope or ""][place[1]]
    declared = {spec.path: spec for spec in fmt.fields}
    gone = set((redacted or "").split(","))
    other = swapped_roles(orjson.loads(canonical(fmt)), record) if fmt.swaps else {}
    return [
        Placed(path, *_where(declared.get(path), row, gone, roles, other), text)
        for path, text in _leaves(record, set(declared), "")
    ]


def _where(
    spec: FieldSpec | None, row: dict[str, Any], gone: set[str], roles: set[str], other: dict[str, str]
) -> tuple[str, str]:
    """Say in which part a field's value is, and where there; `other`: the roles that have changed places."""
    if spec is None:
        return "undeclared", "left out"
    if spec.class_ == "content":
        return "nowhere", "dropped and counted"
    if spec.class_ == "usage":
        return (
            ("window", f"sealed: {spec.column}")
            if spec.column in {*row, "event_time"}
            else ("nowhere", "unfit")
        )
    if spec.class_ == "window":
        return "window", "sealed"
    column = spec.column if spec.class_ == "archive" else spec.business
    role = other.get(spec.role or "", spec.role)
    if role != spec.role and column in OTHER_END:
        column = OTHER_END[column]
    if spec.class_ == "subject" and spec.end_user != "never" and (role in roles or column is None):
        return "window", f"{role}: token and sealed value"
    if column in gone:
        return "window", f"sealed; not fit for {column}"
    if column in row:
        return "archive", str(column)
    return "window", "sealed"


def _leaves(node: Any, declared: set[str], path: str) -> list[tuple[str, str]]:
    """Return every value by its path; what is declared as a whole is one value."""
    if path in declared or not isinstance(node, dict | list):
        if node is None:
            return []
        return [(path, node if isinstance(node, str) else orjson.dumps(node).decode())]
    if isinstance(node, list):
        first = any(f"{name}.".startswith(f"{path}[0].") for name in declared)
        paths = [f"{path}[0]" if first and at == 0 else f"{path}[]" for at in range(len(node))]
        return [
            leaf for one, where in zip(node, paths, strict=True) for leaf in _leaves(one, declared, where)
        ]
    return [
        leaf
        for name, one in node.items()
        for leaf in _leaves(one, declared, f"{path}.{name}" if path else name)
    ]
