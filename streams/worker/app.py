"""The Faust applications: one whose agents split batches and needs no broker, one for the control topics.

Apart, since the control side has to be made anew when the broker shuts it out, and records must go on meanwhile.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from typing import Any

import faust
from aiokafka.abc import AbstractTokenProvider
from faust.app.base import BootStrategy
from faust.auth import OAuthCredentials
from faust.channels import Channel
from mode.utils.queues import FlowControlEvent, ThrowableQueue

from lethe.operations.settings import Kafka, Settings
from lethe.streams.broker._credentials import Credentials
from lethe.streams.worker.pipeline import Pipeline


class BatchChannel(Channel[Any]):
    """A channel that is bounded and never suspended.

    Values go in with `put` as they are, not wrapped in events.
    """

    @property
    def queue(self) -> Any:
        """Return the queue, bounded by `maxsize`, with a flow control of its own."""
        if self._queue is None:
            flow = FlowControlEvent(initially_suspended=False)
            self._queue = ThrowableQueue(maxsize=self.maxsize, flow_control=flow)
        return self._queue


class _WithoutBroker(BootStrategy):
    enable_kafka = False


class _SplitApp(faust.App):
    BootStrategy = _WithoutBroker


def make_split_app(settings: Settings, pipeline: Pipeline, ready: Callable[[], None]) -> tuple[Any, Any]:
    """Make the application that splits, and the channel the feed puts batches on.

    `ready` is called once the agents listen.
    """
    app = _SplitApp(f"{settings.kafka.group}-split", datadir=_folder(), **_COMMON)
    batches = BatchChannel(app, maxsize=1)

    @app.agent(batches, concurrency=settings.threads, name="lethe.split")
    async def split(stream: Any) -> None:
        """Split batches, several loads at a time; each batch is accounted for by its number."""
        ready()
        async for load in stream:
            await pipeline.process(load)

    return app, batches


def make_control_app(settings: Settings) -> Any:
    """Make the application of the control topics: its agents and timers are given to it by `control_topic.attach`."""
    kafka = settings.kafka
    session = kafka.session_timeout_ms / 1000
    return faust.App(
        kafka.control_group,
        broker="kafka://" + settings.bootstrap.replace(",", ";kafka://"),
        broker_credentials=_log_in(kafka),
        broker_session_timeout=session,
        broker_heartbeat_interval=max(0.3, session / 10),
        broker_client_id="lethe-control",
        datadir=_folder(),
        topic_replication_factor=kafka.replication,
        topic_partitions=1,
        topic_allow_declare=False,  # `make_topics` has made them, or somebody who may
        **_COMMON,
    )


_COMMON: dict[str, Any] = {"store": "memory://", "web_enabled": False, "autodiscover": False}


def _folder() -> str:
    return tempfile.mkdtemp(prefix="lethe-")


class _Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """OAuth tokens for Faust's client (whose library has no types), which asks for one at each connection."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def token(self) -> str:
        """Return a token that is valid now."""
        return (await asyncio.to_thread(self._credentials.token))[0]


def _log_in(kafka: Kafka) -> Any:
    """Make what Faust logs in with, from the same settings as the feed's."""
    if kafka.security_protocol == "PLAINTEXT":
        return None
    credentials = Credentials(kafka)
    context = credentials.ssl_context() if kafka.security_protocol.endswith("SSL") else None
    if kafka.security_protocol == "SSL":
        return faust.SSLCredentials(context)
    if kafka.sasl_mechanism == "OAUTHBEARER":
        return OAuthCredentials(oauth_cb=_Tokens(credentials), ssl_context=context)
    return faust.SASLCredentials(
        username=kafka.sasl_username,
        password=credentials.password(),
        mechanism=kafka.sasl_mechanism,
        ssl_context=context,
    )


async def settle(task: asyncio.Task[Any], seconds: float) -> None:
    """Wait for a task that may be stuck, then leave it."""
    await asyncio.wait({task}, timeout=seconds)
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=1)
