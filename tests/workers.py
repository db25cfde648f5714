"""One installation of Lethe in a directory, and its workers as processes: started, watched, stopped, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from brokers import Broker, unique_name
from checker import Checker, Message, Verdict
from confluent_kafka import Producer

from lethe.operations.settings import Settings
from lethe.streams.broker.topics import Streams, identify
from lethe.streams.worker.feed import Feed, Sink
from lethe.testing.traffic import labelled

LETHE = str(Path(sys.executable).with_name("lethe"))
ALTERED = [sys.executable, str(Path(__file__).with_name("altered.py"))]
SMS = "infobip/sms-report"


def traffic(count: int, seed: int = 1, **shares: Any) -> list[tuple[str, bytes]]:
    """Labelled records of the last two months, the same for the same seed."""
    now = datetime.now(UTC)
    until = datetime(now.year, now.month, 1, tzinfo=UTC)
    return list(labelled(SMS, count, seed, until=until, months=2, **{"pakistan": 0.3, **shares}))


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait for something to become true and return it; fail saying `what` did not happen.

    `seconds`: what it takes at most on a machine that has nothing else to do. On a busy one it may take thrice that.
    """
    deadline = time.monotonic() + 3 * seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {3 * seconds} s"
        time.sleep(0.05)
    return found


@dataclass
class Process:
    """A running `lethe` process; its log is a file."""

    popen: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        """What it has written so far."""
        return self.log.read_text("utf-8", "replace")

    def says(self, words: str, seconds: float = 120) -> None:
        """Wait until its log holds these words."""
        until(
            lambda: words in self.text() or (self.popen.poll() is not None and self._ended(words)),
            seconds,
            words,
        )

    def _ended(self, words: str) -> bool:
        assert words in self.text(), (
            f"ended with {self.popen.returncode} before it said {words!r}:\n{self.text()}"
        )
        return True

    @property
    def port(self) -> int:
        """The port of its metrics."""
        self.says("metrics on port ")
        return int(self.text().split("metrics on port ")[1].split('"')[0])

    def ready(self) -> tuple[int, str]:
        """Ask whether it is ready: the status, and what it says."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=60) as answer:
                return answer.status, answer.read().decode().strip()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode().strip()

    def metrics(self) -> str:
        """Ask for its metrics, as Prometheus does."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as answer:
            return str(answer.read().decode())

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.popen.kill()
        self.popen.wait(60)

    def stop(self, seconds: float = 120) -> int:
        """SIGTERM; returns the exit status."""
        self.popen.send_signal(signal.SIGTERM)
        return self.wait(seconds)

    def pause(self) -> None:
        """SIGSTOP."""
        self.popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.popen.send_signal(signal.SIGCONT)

    def wait(self, seconds: float = 120) -> int:
        """Wait for its end and return the exit status."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            tail = self.text()[-3000:]
            self.kill()
            raise AssertionError(f"still running after {seconds} s; its log ends with:\n{tail}") from None


@dataclass
class Site:
    """A warehouse, its keys and its settings; everything produced for it is remembered for the checker."""

    directory: Path
    broker: Broker | None = None
    sources: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    produced: list[Message] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    # Of its own: members that an earlier test killed would still be in a group that all share.
    group: str = field(default_factory=lambda: f"lethe-{uuid.uuid4().hex[:8]}")

    @property
    def root(self) -> Path:
        """The warehouse."""
        return self.directory / "warehouse"

    @property
    def keys(self) -> Path:
        """The key directory."""
        return self.directory / "keys"

    def environment(self, **more: str) -> dict[str, str]:
        """What a process of this installation is started with."""
        inherited = {n: v for n, v in os.environ.items() if not n.startswith("LETHE_")}
        return {
            **inherited,
            "LETHE_ROOT": str(self.root),
            "LETHE_KEYS_DIR": str(self.keys),
            "LETHE_BOOTSTRAP": self.broker.bootstrap if self.broker else "127.0.0.1:1",
            "LETHE_SOURCES": json.dumps(self.sources),
            "LETHE_KAFKA__GROUP": self.group,
            "LETHE_KAFKA__SESSION_TIMEOUT_MS": "6000",
            "LETHE_METRICS_PORT": "0",
            "LETHE_FLUSH__SECONDS": "1",
            **self.variables,
            **more,
        }

    def start(self, *arguments: str, altered: Mapping[str, Any] | None = None, **more: str) -> Process:
        """Start `lethe` with these arguments; `altered` names what `altered.py` changes in it."""
        log = self.directory / f"process-{len(self.processes)}.log"
        command = [LETHE] if altered is None else ALTERED
        extra = {} if altered is None else {"LETHE_TEST_ALTERED": json.dumps(altered)}
        with log.open("wb") as file:
            popen = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=self.directory,
                env=self.environment(**extra, **more),
            )  # fmt: skip
        process = Process(popen, log)
        self.processes.append(process)
        return process

    def worker(self, *arguments: str, altered: Mapping[str, Any] | None = None, **more: str) -> Process:
        """Start a worker."""
        return self.start("worker", *arguments, altered=altered, **more)

    def drain(self, *arguments: str, seconds: float = 120, **more: str) -> Process:
        """Run a worker to the end of what is there; it must succeed."""
        process = self.worker("--stop-at-end", *arguments, **more)
        status = process.wait(seconds)
        assert status == 0, f"exit status {status}:\n{process.text()[-3000:]}"
        return process

    def run(self, *arguments: str, seconds: float = 120, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, with its output."""
        return subprocess.run(
            [LETHE, *arguments], capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL,
            cwd=self.directory, env=self.environment(**more),
        )  # fmt: skip

    def topic(self, name: str = "cdr", partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        """Make a topic that this installation reads."""
        assert self.broker is not None
        topic = self.broker.topic(name, partitions, config)
        self.sources[topic] = SMS
        return topic

    def produce(
        self,
        topic: str,
        values: Iterable[tuple[str, bytes | None]],
        partition: int = 0,
        first: int | None = None,
    ) -> None:
        """Write labelled records to a partition. `first` is the offset of the first, by default what follows."""
        assert self.broker is not None
        values = list(values)
        mine = [m.offset for m in self.produced if (m.stream, m.partition) == (topic, partition)]
        start = max(mine, default=-1) + 1 if first is None else first
        self.broker.produce(topic, [value for _, value in values], partition=partition)
        for offset, (label, value) in enumerate(values, start):
            self.remember(topic, partition, offset, value, label)

    def transactions(self, topic: str, number: int, each: int) -> None:
        """Write transactions of some records each to partition 0; every second one is taken back."""
        assert self.broker is not None
        producer = Producer(
            {"bootstrap.servers": self.broker.bootstrap, "transactional.id": unique_name("writer")}
        )
        producer.init_transactions(20)
        for at in range(number):
            producer.begin_transaction()
            for _, value in traffic(each, seed=at):
                producer.produce(topic, value, partition=0)
            producer.flush(10)
            producer.abort_transaction(10) if at % 2 else producer.commit_transaction(10)

    def remember(
        self, stream: str, partition: int, offset: int, value: bytes | None, label: str = "good"
    ) -> None:
        """Note what the checker is to expect."""
        good = label in ("good", "late", "envelope")
        self.produced.append(Message(stream, partition, offset, value, good=good))

    def checker(self) -> Checker:
        """The judge of this warehouse."""
        return Checker(self.root, self.keys)

    def judge(self) -> Verdict:
        """The promise must have been kept for everything produced; returns what was counted."""
        verdict = self.checker().judge(self.produced)
        assert verdict.kept, str(verdict)
        return verdict

    def archived(self) -> int:
        """How many rows the archive holds just now."""
        return self.checker().arrow("metadata", ["offset"]).num_rows

    def close(self) -> None:
        """Kill what is still running."""
        for process in self.processes:
            if process.popen.poll() is None:
                process.resume()
                process.kill()


def sites(directory: Path, broker: Broker | None) -> Iterator[Site]:
    """A site for a fixture."""
    site = Site(directory, broker)
    try:
        yield site
    finally:
        site.close()


@contextmanager
def feeding(site: Site, sink: Sink, seconds: float) -> Iterator[Feed]:
    """Let a feed give a sink what the topics of a site have, in a thread of its own, as long as the block lasts."""
    assert site.broker is not None
    settings = Settings(
        bootstrap=site.broker.bootstrap, sources=site.sources, root=str(site.root), keys_dir=site.keys,
        kafka={"group": site.group, "session_timeout_ms": 6000}, flush={"seconds": seconds},
    )  # fmt: skip
    streams = Streams({}, settings, identify(settings, settings.sources))
    streams.check(accept_gap=False)
    feed = Feed(settings, streams, lambda _: None, sink)
    thread = threading.Thread(target=feed.run)
    thread.start()
    try:
        yield feed
    finally:
        feed.stop()
        thread.join()
