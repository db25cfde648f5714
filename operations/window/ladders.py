"""One line a communication: the reports and legs of one, put together. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

STEP: Final = ("record", "event_time", "role", "direction", "status_group", "status", "error")
"""What is told of each report of a communication."""
LINE: Final = (
    "value", "kind", "counterpart", "channel", "account", "sender", "recipient", "route", "network", "country",
    "parts", "duration_ms", "charge", "currency", "data", "action", "method", "path",
)  # fmt: skip
"""What is told of a communication, by the last of its reports that says it."""
ORDERS: Final = ("time", "counterpart", "channel", "account", "country", "status")
"""By what lines can be put in order; a dash in front turns it round."""


def ladders(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Make one line of the records of a communication of a value, the newest communication first.

    A line has the `LINE` columns, `time` of the first report, `role`s, `status` of the last report, `reports` (the
    ladder, oldest first, with the columns of `STEP`) and `record`, the last one.
    """
    groups: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault((record.get("value"), record["communication"]), []).append(record)
    lines = [_line(reports) for reports in groups.values()]
    return sorted(lines, key=lambda line: (line["time"], line["record"]), reverse=True)


def ordered(lines: list[dict[str, Any]], order: str) -> list[dict[str, Any]]:
    """Put lines into an order of `ORDERS`; what a line does not say comes last, equal ones stay newest first."""
    name, turned = order.removeprefix("-"), order.startswith("-")
    if name == "time":
        return lines if turned else lines[::-1]
    said = [line for line in lines if line.get(name) is not None]
    unsaid = [line for line in lines if line.get(name) is None]
    return sorted(said, key=lambda line: str(line[name]).casefold(), reverse=turned) + unsaid


def _line(reports: list[dict[str, Any]]) -> dict[str, Any]:
    reports.sort(key=lambda r: (r["event_time"], r.get("done_time") or r["event_time"], r["record"]))
    charge = _last(reports, "charge")
    return {
        **{name: _last(reports, name) for name in LINE},
        "charge": None if charge is None else str(charge),
        "time": reports[0]["event_time"],
        "roles": list(dict.fromkeys(r["role"] for r in reports)),
        "direction": _last(reports, "direction"),
        "status": _last(reports, "status_group"),
        "record": reports[-1]["record"],
        "reports": [{name: r.get(name) for name in STEP} for r in reports],
    }


def _last(reports: Sequence[dict[str, Any]], name: str) -> Any:
    return next((r[name] for r in reversed(reports) if r.get(name) is not None), None)
