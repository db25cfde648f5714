"""An S3 API in a process beside the benchmark (moto), for the shape of the figures: it is no store one would use."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from lethe.testing.brokers.process import LOOPBACK, free_ports, port_is_open

_READY_SECONDS = 20.0
_BUCKET = "lethe-bench"


@contextmanager
def object_store() -> Iterator[tuple[str, dict[str, str]]]:
    """Start it; yields the warehouse's root and the variables a worker needs to reach it."""
    port = free_ports(1)[0]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while not port_is_open(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the S3 API did not start; is moto installed?")
            time.sleep(0.1)
        endpoint = f"http://{LOOPBACK}:{port}"
        request = urllib.request.Request(f"{endpoint}/{_BUCKET}", method="PUT")
        urllib.request.urlopen(request).close()
        options = {
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": "true",
        }
        yield f"s3://{_BUCKET}/warehouse", {"LETHE_STORAGE": json.dumps(options)}
    finally:
        server.kill()
        server.wait()
