"""Structured logs: one JSON object a line on standard error. No message is built from a record, and exceptions are
reduced to their type and place, because the text of a stranger's exception may quote what it choked on."""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from pathlib import PurePath

import orjson

from lethe.schemas.errors import LetheError

_QUIET = ("faust", "mode", "aiokafka", "librdkafka", "asyncio")


class JsonFormatter(logging.Formatter):
    """Time, level, logger, message; for an exception its type and where it was raised."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as one line of JSON."""
        ours = record.name.startswith("lethe")
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            # What others put into their messages is not ours to vouch for: the template alone is logged.
            "message": record.getMessage() if ours or record.name == "librdkafka" else str(record.msg)[:200],
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["exception"] = type(error).__name__
            if isinstance(error, LetheError):
                line["what"] = str(error)
            frames = traceback.extract_tb(error.__traceback__)[-5:]
            line["at"] = [f"{PurePath(f.filename).name}:{f.lineno}:{f.name}" for f in frames]
        return orjson.dumps(line).decode()


def set_up(level: str) -> None:
    """Send every log to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level if level != "WARN" else "WARNING")
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING if level != "DEBUG" else logging.DEBUG)
