"""What the benches of far object stores share: a server on loopback that holds each request up, and writes it down."""

from __future__ import annotations

import asyncio
import threading

from lethe.testing.brokers.process import LOOPBACK, free_ports

DELAY = 0.05
"""Seconds that each request takes."""
BUCKET = "lethe"


class SlowServer:
    """A server in a thread of its own; `seen` is when each request began and ended."""

    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self.seen: list[tuple[float, float]] = []
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        threading.Thread(target=self._run, args=(ready,), daemon=True).start()
        ready.wait(30)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, and add each to `seen`."""
        raise NotImplementedError

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self.serve, LOOPBACK, self.port))
        ready.set()
        self._loop.run_forever()
