"""Rejected records on their way to the quarantine: why, where, and (sealed) what they were."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa
import zstandard

from lethe import __version__
from lethe.keys.monthkeys import MonthKeys
from lethe.keys.ring import KeyRing
from lethe.keys.sealing import seal_column
from lethe.schemas.arrow import QUARANTINE
from lethe.schemas.declaration.format import Format
from lethe.schemas.errors import ExpiredKeyError
from lethe.schemas.retention.calendar import Month
from lethe.schemas.retention.data_class import DataClass
from lethe.streams.transform.batch import Load, Reason, Reject
from lethe.streams.transform.decode.reshape import plain
from lethe.streams.transform.seal.originals import STRIPPED, quarantined
from lethe.streams.transform.split.rules import Rules

_COMPRESSION: Final = 3
_LATEST_MS: Final = 2**42


def quarantine(
    load: Load, fmt: Format, rejects: Iterable[Reject], ring: KeyRing, rules: Rules, now: datetime
) -> pa.Table:
    """Make one row per reject, in the order of the load; see `_row`."""
    ordered = sorted(rejects, key=lambda r: (r.row, -1 if r.index is None else r.index))
    if not ordered:
        return QUARANTINE.empty_table()
    rows = [_row(load, fmt, reject, ring, rules, now) for reject in ordered]
    return pa.Table.from_pylist(rows, schema=QUARANTINE)


def _row(
    load: Load, fmt: Format, reject: Reject, ring: KeyRing, rules: Rules, now: datetime
) -> dict[str, Any]:
    """Make a row whose value is sealed under the month of the event if that is known, else of its arrival.

    For as long as records of its class are kept: usage data is nowhere under the keys of communications.
    """
    source = load.batch(reject.row).source
    period = rules.retention.period(DataClass.USAGE if fmt.data == "usage" else DataClass.IDENTIFIERS, ())
    received_ms = load.received_ms(reject.row)
    received = datetime.fromtimestamp(received_ms / 1000, UTC) if 0 < received_ms < _LATEST_MS else None
    arrival = min(received or now, now)
    # A time in the future is no month to keep anything under, whatever the record was rejected for.
    latest = (now + rules.future).timestamp() * 1000
    event = reject.event_ms if reject.event_ms is not None and reject.event_ms <= latest else None
    when = datetime.fromtimestamp(event / 1000, UTC) if event is not None else arrival
    month = Month.of(when)
    form, sealed = None, None
    message = reject.value if reject.value is not None else load.values[reject.row]
    if reject.reason == Reason.NO_COMMUNICATION:
        message = None  # counted, and no more
    if message is not None and period.ends(month) > now:
        alone = reject.value is not None  # an element by itself: taken out of its message already
        kept = quarantined(message, None if alone else reject.index, plain(fmt) if alone else fmt)
        keys = _keys(ring, month, period.length) if kept is not None else None
        if kept is not None and keys is not None:
            form = STRIPPED if alone and fmt.reshaped else kept[0]
            packed = zstandard.compress(kept[1], _COMPRESSION)
            place = load.place(reject.row, reject.index)
            sealed = seal_column(keys, "quarantine", "sealed", [place], [packed])[0].as_py()
    return {
        "stream": source.stream,
        "partition": source.partition,
        "offset": int(load.offsets[reject.row]),
        "index": reject.index,
        "received_time": received,
        "format": fmt.name,
        "reason": reject.reason,
        "detail": reject.detail,
        "form": form,
        "sealed": sealed,
        "month": str(month),
        "window_months": period.length,
        "format_version": fmt.version,
        "release": __version__,
    }


def _keys(ring: KeyRing, month: Month, window_months: int) -> MonthKeys | None:
    """Return the month's keys, None when it has ended meanwhile."""
    try:
        return ring.keys_for(month, window_months, create=True)
    except ExpiredKeyError:
        return None
