"""Asks the HTTP port of a worker, or of the service, whether it is well: the health check of the container."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Sequence

_DEFAULT_PORT = "9464"
_SECONDS = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if `/live` (or the path given, and the port) answers 200 on this machine, 1 and one line otherwise."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    path = given[0] if given else "/live"
    port = given[1] if len(given) > 1 else os.environ.get("LETHE_METRICS_PORT", _DEFAULT_PORT)
    try:
        # http.client and nothing above it: no proxy setting can send the question elsewhere.
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=_SECONDS)
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(f"port {port}: {error}", file=sys.stderr)
        return 1
    if status != http.client.OK:
        print(f"port {port}: {path} answered {status}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
