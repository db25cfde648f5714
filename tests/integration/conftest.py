"""One secured Kafka, one source distribution and one wheel for all tests of a session that need one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import Broker
from packages import build_sdist, build_wheel

from lethe.testing.brokers.kafka.secured import SecuredKafka


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """A node with a listener for each way to log in."""
    with SecuredKafka(tmp_path_factory.mktemp("certificates")) as kafka:
        yield kafka


@pytest.fixture(scope="session")
def secured_broker(secured: SecuredKafka) -> Broker:
    """Its plain listener, where tests make topics and look at what is there."""
    return Broker("kafka", secured.cluster)


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of a checkout in which nothing was built before."""
    return build_sdist(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is made of it where there is a compiler."""
    return build_wheel(sdist, tmp_path_factory.mktemp("wheel"))
