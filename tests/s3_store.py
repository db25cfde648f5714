"""A local server that speaks S3, for tests of what is asked of an object store, and of what comes of it."""

from __future__ import annotations

import re
import sys
import time
import urllib.request
from pathlib import Path

from workers import until

from lethe.testing.brokers.process import free_ports, port_is_open, spawn

_ANSWERED = re.compile(r'"[A-Z]+ \S+ HTTP/[0-9.]+" [0-9]{3}')
_COLOURED = re.compile(r"\x1b\[[0-9;]*m")


class Store:
    """The server, with a bucket `lethe`; it writes down each request."""

    def __init__(self, folder: Path) -> None:
        (port,) = free_ports(1)
        self._log = folder / "requests.log"
        program = str(Path(sys.executable).with_name("moto_server"))
        self.process = spawn([program, "-H", "127.0.0.1", "-p", str(port)], log=self._log)
        until(lambda: port_is_open(port), 60, "the S3 server answers")
        self.url = f"http://127.0.0.1:{port}"
        request = urllib.request.Request(f"{self.url}/lethe", method="PUT")
        urllib.request.urlopen(request, timeout=30).close()

    @property
    def storage(self) -> dict[str, str]:
        """The options with which a warehouse is in it."""
        return {
            "AWS_ENDPOINT_URL": self.url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        }  # fmt: skip

    def requests(self) -> int:
        """Count what was asked so far, once nothing more is written down."""
        before, now = -1, self._count()
        while now != before:
            time.sleep(0.3)
            before, now = now, self._count()
        return now

    def _count(self) -> int:
        return len(_ANSWERED.findall(_COLOURED.sub("", self._log.read_text())))
