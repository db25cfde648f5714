"""Fixtures for every test: the broker of this session, and Kafka clusters that a test may break."""

from __future__ import annotations

import logging
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from brokers import NODES, Broker, chosen_kind, running_broker
from hypothesis import HealthCheck, settings
from workers import Site, sites

from lethe.schemas.compiled import native
from lethe.schemas.errors import LetheError
from lethe.streams.worker.logs import JsonFormatter
from lethe.testing.brokers.kafka.cluster import KafkaCluster

# A law holds or it does not: a machine that is busy breaks none.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

NEEDS_KAFKA = "needs_kafka: runs only where LETHE_TEST_BROKER is kafka or kafka3 (make test-kafka)"
NEEDS_HISTORY = (
    "needs_history(commit): runs only where the repository has this commit; a shallow checkout has not"
)


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """Take back what a command has done to the logs of this process: the next test listens to them."""
    yield
    root = logging.getLogger()
    root.handlers[:] = [h for h in root.handlers if not isinstance(h.formatter, JsonFormatter)]
    root.setLevel(logging.WARNING)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", NEEDS_KAFKA)
    config.addinivalue_line("markers", NEEDS_HISTORY)
    try:
        chosen_kind()
    except LetheError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Deselected and counted as such. A skip would look like a pass that nobody has to explain. On Kafka only what has
    # to do with a broker is run again; the rest is the same as in `make test`.
    if NODES[chosen_kind()]:
        unserved = [item for item in items if not _meets_a_broker(item)]
    else:
        unserved = [item for item in items if item.get_closest_marker("needs_kafka")]
    for item in set(items) - set(unserved):
        if (history := item.get_closest_marker("needs_history")) and not _is_in_history(history.args[0]):
            unserved.append(item)
    if unserved:
        config.hook.pytest_deselected(items=unserved)
        items[:] = [item for item in items if item not in unserved]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what each suite costs: the seconds of its tests one after the other, however many ran at once."""
    seconds, counts = Counter[str](), Counter[str]()
    for report in (one for reports in terminalreporter.stats.values() for one in reports):
        if isinstance(report, pytest.TestReport):
            suite = str(Path(report.nodeid.partition("::")[0]).parent)
            seconds[suite] += report.duration
            counts[suite] += report.when == "call"
    if sum(seconds.values()) > 30:
        terminalreporter.section("seconds of each suite")
        for suite, spent in seconds.most_common():
            terminalreporter.line(f"{spent:7.1f} s  {counts[suite]:5} tests  {suite}")


def _is_in_history(commit: str) -> bool:
    looked = ["git", "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(looked, cwd=Path(__file__).parent, capture_output=True, check=False).returncode == 0


def _meets_a_broker(item: pytest.Item) -> bool:
    fixtures = set(getattr(item, "fixturenames", ()))
    return bool(item.get_closest_marker("needs_kafka") or fixtures & {"session_broker", "broker"})


@pytest.fixture(scope="session")
def session_broker() -> Iterator[Broker]:
    try:
        with running_broker(chosen_kind()) as broker:
            yield broker
    except LetheError as error:
        pytest.exit(f"no broker to test with: {error}", returncode=1)


@pytest.fixture
def broker(session_broker: Broker) -> Broker:
    """The broker that all tests share: make your own topics with `broker.topic()`, and leave it running."""
    return session_broker


@pytest.fixture
def private_kafka() -> Iterator[Callable[[int], KafkaCluster]]:
    """Start clusters that this test alone has and may break: `private_kafka(3)`. Mark it `needs_kafka`."""
    with ExitStack() as stack:
        yield lambda nodes: stack.enter_context(KafkaCluster(nodes))


@pytest.fixture
def site(tmp_path: Path, session_broker: Broker) -> Iterator[Site]:
    """An installation of its own on the session's broker; its processes are ended with the test."""
    yield from sites(tmp_path, session_broker)


@pytest.fixture
def bare_site(tmp_path: Path) -> Iterator[Site]:
    """An installation without a broker."""
    yield from sites(tmp_path, None)


@pytest.fixture(scope="session")
def reader() -> None:
    """The compiled code, without which its tests would say nothing."""
    assert native() is not None, (
        "compiled code is not there: have a C compiler (`cc`) and run `make clean setup`"
    )
