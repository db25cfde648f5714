"""Structured logs: one JSON object a line on standard error. No message is built from a record, and exceptions are
reduced to their type and place, because the text of a stranger's exception may quote what it choked on."""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Final

import orjson

from lethe.schemas.errors import LetheError

log = logging.getLogger("lethe.process")

_QUIET = ("faust", "mode", "aiokafka", "librdkafka", "asyncio")
_AGAIN_SECONDS: Final = 300.0
_MOST_LINES: Final = 1_000
_NUMBERS: Final = re.compile(r"[0-9]+(?:ms)?")


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


class SayOnce(logging.Filter):
    """Lets a line of the broker's libraries through once in a while: they repeat themselves at every try.

    Lines are the same when only their numbers differ. The next that passes says how many did not.
    """

    def __init__(self, seconds: float = _AGAIN_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._said: dict[
            tuple[str, str], tuple[float, int]
        ] = {}  # line -> when last, how many held back since

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide on one record; those of other loggers always pass."""
        if record.name.partition(".")[0] not in _QUIET:
            return True
        text = record.getMessage() if record.name == "librdkafka" else str(record.msg)
        key, now = (record.name, _NUMBERS.sub("", text)[:200]), self._clock()
        with self._lock:
            last, held = self._said.get(key, (-self._seconds, 0))
            if now - last < self._seconds:
                self._said[key] = last, held + 1
                return False
            if len(self._said) >= _MOST_LINES:
                self._said.clear()
            self._said[key] = now, 0
        if held:
            record.msg, record.args = f"{text} (and {held} more like it)", ()
        return True


def set_up(level: str) -> None:
    """Send every log to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(SayOnce())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level if level != "WARN" else "WARNING")
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING if level != "DEBUG" else logging.DEBUG)
    sys.excepthook = _uncaught
    sys.unraisablehook = _unraisable
    threading.excepthook = _in_a_thread


def _uncaught(_: type[BaseException], error: BaseException, __: object) -> None:
    """Log what nobody caught without its text, which Python would print."""
    log.error("nobody caught an exception", exc_info=error)


def _in_a_thread(what: threading.ExceptHookArgs) -> None:
    if what.exc_value is not None and not isinstance(what.exc_value, SystemExit):
        log.error("nobody caught an exception in a thread", exc_info=what.exc_value)


def _unraisable(what: sys.UnraisableHookArgs) -> None:
    if what.exc_value is not None:
        log.error("an exception could not be raised", exc_info=what.exc_value)
