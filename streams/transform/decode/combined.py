"""Lines of access logs in the combined format of Apache and nginx, and the common one without its last two fields.

`%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i"`: a quote inside a quoted field is written with a backslash.
What follows behind (some add a time or a host) is not read.
"""

from __future__ import annotations

import re
from typing import Final

from lethe.streams.transform.batch import Reason

_QUOTED: Final = r'"((?:[^"\\]|\\.)*)"'
_LINE: Final = re.compile(
    # A server behind proxies may write all addresses on the way.
    rf"([^\s,]+(?:, ?[^\s,]+)*,?) (\S+) (.*?) \[([^\]\[]{{1,40}})\] {_QUOTED} ([0-9]{{3}}|-) ([0-9]+|-)"
    rf"(?: {_QUOTED} {_QUOTED})?(?: .*)?"
)
_TIME: Final = re.compile(r"([0-9]{2})/([A-Za-z]{3})/([0-9]{4}):([0-9]{2}:[0-9]{2}:[0-9]{2}) ([+-][0-9]{4})")
MONTHS: Final = {
    name: f"{number:02d}"
    for number, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)
}
_REQUEST: Final = re.compile(r"([A-Z]{1,20}) (\S+)(?: (HTTP/[0-9.]{1,5}))?")
_NOBODY: Final = "-"


def read_combined(line: str) -> dict[str, str] | str:
    """Cut a line into its fields, those that say nothing (`-`) left out; return the reason where it cannot be read."""
    found = _LINE.fullmatch(line)
    if found is None:
        return Reason.WRONG_COLUMNS
    address, identity, user, time, request, status, size, referer, agent = found.groups()
    asked = _REQUEST.fullmatch(request)  # what is no request (a probe, TLS at the wrong door) has no method
    method, path, protocol = asked.groups() if asked else (None, None, None)
    path = path and path.partition("?")[0]  # a query may hold a message's text
    fields = {
        "address": address, "identity": identity, "user": _unescaped(user), "time": _iso(time), "method": method,
        "path": path, "protocol": protocol, "status": status, "bytes": size, "referer": referer, "agent": agent,
    }  # fmt: skip
    return {name: value for name, value in fields.items() if value is not None and value != _NOBODY}


def _iso(text: str) -> str:
    """Write `10/Oct/2000:13:55:36 -0700` as ISO 8601 has it; anything else stays as it is, to be rejected as a time."""
    found = _TIME.fullmatch(text)
    month = MONTHS.get(found[2].capitalize()) if found else None
    return f"{found[3]}-{month}-{found[1]}T{found[4]}{found[5]}" if found and month else text


def _unescaped(user: str) -> str:
    return re.sub(r"\\([\"\\])", r"\1", user).strip('"')
