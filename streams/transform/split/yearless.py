"""Times of syslog, which say no year (RFC 3164: `Nov 30 17:44:53`), get the one in which their record was received."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from lethe.schemas.declaration.format import Format
from lethe.streams.transform.batch import Load
from lethe.streams.transform.decode.combined import MONTHS
from lethe.streams.transform.decode.decode import ROW, Decoded

_SYSLOG: Final = re.compile(
    r"([A-Z][a-z]{2}) {1,2}([0-9]{1,2}) ([0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?)"
)
_AHEAD: Final = timedelta(days=1)  # of what the clock says here: a local clock, or one that is fast
_LATEST_MS: Final = 253_402_300_799_000


def without_year(fmt: Format) -> list[str]:
    """Return the paths of a format's times that may say no year."""
    return [f.path for f in (*fmt.archive, *fmt.usage) if f.format == "syslog"]


def with_years(decoded: Decoded, fmt: Format, load: Load, now: datetime) -> Decoded:
    """Write the times of fields declared as `syslog` with their year; other spellings stay as they are.

    It is the latest in which the time is at most a day after its message was received, or after now where nobody
    knows when that was: what a record becomes does not change when it is read again.
    """
    paths = without_year(fmt)
    if not paths or not decoded.frame.height:
        return decoded
    received = [_moment(load.received_ms(row), now) for row in decoded.frame.get_column(ROW).to_list()]
    known: dict[tuple[str, datetime], str] = {}
    written = []
    for path in paths:
        texts = []
        for text, day in zip(decoded.frame.get_column(path).to_list(), received, strict=True):
            if text is not None and (text, day) not in known:
                known[text, day] = with_year(text, day)
            texts.append(None if text is None else known[text, day])
        written.append(pl.Series(path, texts, dtype=pl.String))
    others = {path: coded for path, coded in decoded.coded.items() if path not in paths}
    return Decoded(decoded.frame.with_columns(written), decoded.rejects, others)


def with_year(text: str, received: datetime) -> str:
    """Write a time of syslog as ISO 8601, in the latest year that is not after `received` by more than a day."""
    found = _SYSLOG.fullmatch(text.strip())
    if found is None or found[1] not in MONTHS:
        return text
    latest = (received + _AHEAD).replace(tzinfo=None)
    for year in (latest.year, latest.year - 1):
        iso = f"{year:04}-{MONTHS[found[1]]}-{int(found[2]):02}T{found[3]}"
        try:
            day = datetime.fromisoformat(f"{iso[:10]}T{found[3][:8]}")
        except ValueError:  # 29 February of another year, or no day or hour at all
            continue
        if day <= latest:
            return iso
    return text


def _moment(received_ms: int, now: datetime) -> datetime:
    """Return the hour in which a message was received: whole hours, so that few different ones are asked for."""
    when = datetime.fromtimestamp(received_ms / 1000, UTC) if 0 < received_ms < _LATEST_MS else now
    return when.replace(minute=0, second=0, microsecond=0)
