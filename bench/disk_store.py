"""A folder as an object store that takes its time: GET and HEAD of S3's API, each answered after a delay, counted.

It signs and lists nothing, and costs little of a processor itself, where moto takes milliseconds a request.
"""

from __future__ import annotations

import asyncio
import re
import time
from email.utils import formatdate
from pathlib import Path

from bench.slow_server import BUCKET, DELAY, SlowServer

_RANGE = re.compile(rb"bytes=(\d*)-(\d*)")


class DiskStore(SlowServer):
    """Objects of the bucket are files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        super().__init__()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """See `SlowServer.serve`."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                began = time.perf_counter()
                await asyncio.sleep(DELAY)
                writer.write(self._answer(head))
                await writer.drain()
                self.seen.append((began, time.perf_counter()))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        method, target, _ = head.split(b" ", 2)
        path = self._folder / target.decode().partition("?")[0].removeprefix(f"/{BUCKET}/").replace(
            "%3D", "="
        )
        if not path.is_file():
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        size, status, body = path.stat().st_size, b"200 OK", b""
        fields = [b'ETag: "1"', b"Last-Modified: " + formatdate(0, usegmt=True).encode()]
        if method == b"HEAD":
            fields.append(b"Content-Length: %d" % size)
        else:
            first, last = 0, size - 1
            if asked := _RANGE.search(head):
                first = int(asked[1]) if asked[1] else size - int(asked[2])
                last = min(last, int(asked[2])) if asked[1] and asked[2] else last
                status = b"206 Partial Content"
                fields.append(b"Content-Range: bytes %d-%d/%d" % (first, last, size))
            with path.open("rb") as file:
                file.seek(first)
                body = file.read(last - first + 1)
            fields.append(b"Content-Length: %d" % len(body))
        return b"HTTP/1.1 " + status + b"\r\n" + b"\r\n".join(fields) + b"\r\n\r\n" + body

    def told(self) -> int:
        """Return how many requests there were since it was asked last."""
        time.sleep(0.2)
        count, self.seen = len(self.seen), []
        return count
