"""What a look-up costs where each request takes 50 ms: `python -m bench.far FOLDER` (one that `bench.lookup` made).

The warehouse is copied into a local S3 server (moto), in front of which each request is held up. Counted are requests,
and those that waited for one another: with so many in a row 50 ms each is what the store costs, however busy the
machine is that this runs on. Seconds of the wall hold the server's own work too.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.lookup import NOBODY, number, ordinary
from bench.slow_server import BUCKET, DELAY, SlowServer
from lethe.operations.asker import Asker
from lethe.operations.runtime import Runtime, system_clock
from lethe.operations.settings import Settings
from lethe.operations.window.lookup import lookup, lookup_each
from lethe.testing.brokers.process import LOOPBACK, free_ports, port_is_open, stop


class Far(SlowServer):
    """A way to the server that takes its time."""

    def __init__(self, to: int) -> None:
        self._to = to
        super().__init__()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """See `SlowServer.serve`."""
        there, here = await asyncio.open_connection(LOOPBACK, self._to)
        try:
            while request := await self._message(reader):
                began = time.perf_counter()
                head = request.split(b" ", 1)[0]
                await asyncio.sleep(DELAY)
                here.write(request)
                await here.drain()
                writer.write(await self._message(there, body=head != b"HEAD"))
                await writer.drain()
                self.seen.append((began, time.perf_counter()))
        finally:
            here.close()
            writer.close()

    @staticmethod
    async def _message(reader: asyncio.StreamReader, body: bool = True) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
        if not body:
            return head
        if fields.get(b"transfer-encoding", b"").strip() == b"chunked":
            whole = head
            while True:
                size = await reader.readuntil(b"\r\n")
                whole += size + await reader.readexactly(int(size, 16) + 2)
                if int(size, 16) == 0:
                    return whole
        return head + await reader.readexactly(int(fields.get(b"content-length", b"0")))

    def told(self) -> tuple[int, int]:
        """Return how many requests there were since it was asked last, and how many waited for one another."""
        time.sleep(0.3)
        seen, self.seen = sorted(self.seen), []
        rounds, end = 0, 0.0
        for began, ended in seen:
            if began >= end:  # none of the round before was still under way
                rounds, end = rounds + 1, ended
            else:
                end = min(end, ended)
        return len(seen), rounds


def main() -> None:
    folder = Path(sys.argv[1])
    rows = int((folder / "rows").read_text())
    (port,) = free_ports(1)
    log = tempfile.NamedTemporaryFile("wb")  # noqa: SIM115 - as long as the process
    program = str(Path(sys.executable).with_name("moto_server"))
    server = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    try:
        while not port_is_open(port):
            time.sleep(0.1)
        copied(folder / "warehouse", port)
        measure(folder, rows, Far(port))
    finally:
        stop(server)


def copied(root: Path, port: int) -> None:
    """Put every object of a warehouse into the server."""
    import boto3

    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1",
                          aws_access_key_id="test", aws_secret_access_key="test")  # fmt: skip
    client.create_bucket(Bucket=BUCKET)
    for path in root.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            client.put_object(Bucket=BUCKET, Key=f"w/{path.relative_to(root)}", Body=path.read_bytes())


def measure(folder: Path, rows: int, far: Far) -> None:
    storage = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{far.port}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
    }  # fmt: skip
    settings = Settings(root=f"s3://{BUCKET}/w", keys_dir=folder / "keys", storage=storage)
    who = Asker.of("bench", "F-1", "measured")
    chance = random.Random(3)
    numbers = ["+" + number(chance.randrange(ordinary(rows))) for _ in range(5)]
    print("| look-up over 13 months, each request 50 ms | requests | in a row | of processor, ms | wall, s |")
    print("|---|---:|---:|---:|---:|")

    def asked(what: str, runtime: Runtime, *texts: str) -> None:
        far.told()
        start, spent = time.perf_counter(), time.process_time()
        found = lookup_each(runtime, who, texts)
        wall, spent = time.perf_counter() - start, time.process_time() - spent
        requests, rounds = far.told()
        hits = sum(len(one.records) for one in found)
        print(f"| {what}, {hits} hits | {requests} | {rounds} | {spent * 1e3:.0f} | {wall:.2f} |", flush=True)

    lookup(
        Runtime(settings, system_clock), who, numbers[0]
    )  # makes the audit's own keys, brings in the modules
    for text in numbers[1:3]:
        asked("a process that has asked nothing yet", Runtime(settings, system_clock), text)
    warm = Runtime(settings, system_clock)
    asked("the same, a number nobody has", warm, "+" + number(NOBODY + 1))
    for text in numbers[3:]:
        asked("a process that has asked before", warm, text)
    asked("a number nobody has, asked before", warm, "+" + number(NOBODY + 2))
    asked("fifty numbers nobody has", warm, *("+" + number(NOBODY + 9 + n) for n in range(50)))


if __name__ == "__main__":
    main()
