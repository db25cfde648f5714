"""One secured Kafka for all tests of a session that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from brokers import Broker

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
