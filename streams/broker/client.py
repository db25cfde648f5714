"""Clients of the broker: how each is configured, and an administrator's that says what keeps it from being served."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from lethe.operations.settings import Settings
from lethe.schemas.errors import ConfigurationError, LetheError
from lethe.streams.broker._credentials import Credentials
from lethe.streams.broker._diagnosis import Heard, unreachable

REACHED_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 10.0
_POLL: Final = 0.5
_LOOK_SECONDS: Final = 2.0
_GRACE: Final = 60.0

log = logging.getLogger("lethe.broker")

T = TypeVar("T")


def client_options(settings: Settings) -> dict[str, Any]:
    """Return what every client of the broker is configured with.

    Raises `ConfigurationError` for a file, key or password that cannot be used.
    """
    return {
        **Credentials(settings.kafka).options(),
        "bootstrap.servers": settings.bootstrap,
        "client.id": "lethe",
        "reconnect.backoff.max.ms": 5_000,
        "logger": logging.getLogger("librdkafka"),
    }


def make_client(kind: Callable[[dict[str, Any]], T], options: dict[str, Any]) -> T:
    """Make a client; raises `ConfigurationError`, with the library's reason, when it takes no such settings."""
    try:
        return kind(options)
    except KafkaException as error:
        reason = error.args[0].str().partition(": ")[2] or error.args[0].name()
        raise ConfigurationError(
            f"the broker's client cannot be configured: {reason}; check kafka.*"
        ) from None


class Login:
    """Whether a client that lives long is still let in: credentials that were rotated, a log-in that is refused.

    A refused log-in is said once. A password is often changed at the broker before its file is: it may take a minute.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._credentials = Credentials(settings.kafka)
        self._used = self._credentials.fingerprint()
        self._looked = time.monotonic()
        self._refused_since: float | None = None
        self.heard = Heard()

    @property
    def in_doubt(self) -> bool:
        """Tell whether the broker has refused the log-in."""
        return self.heard.refused

    def rotated(self) -> bool:
        """Tell, once for each change, whether the credentials in use have changed and can be used."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return False
        self._looked = now
        found = self._credentials.fingerprint()
        if found == self._used:
            return False
        try:
            self._credentials.options()
        except LetheError as error:
            log.warning("credentials that changed cannot be used yet: %s", error)
            return False
        self._used = found
        return True

    def refused(self) -> LetheError | None:
        """Return why the client has to end: the log-in has been refused for a minute."""
        if not self.heard.refused:
            return None
        now = time.monotonic()
        if self._refused_since is None:
            self._refused_since = now
            log.error("%s", unreachable(self._settings, self.heard.telling))
        return unreachable(self._settings, self.heard.telling) if now - self._refused_since > _GRACE else None

    def accepted(self) -> None:
        """Note that the broker takes the log-in again."""
        self.heard.forget()
        if self._refused_since is not None:
            self._refused_since = None
            log.info("the broker takes the log-in again")

    def forget(self) -> None:
        """Begin anew with the credentials there are now."""
        self.heard.forget()


class Admin:
    """An administrator's client. `client` is there to ask; `failed` says what a refused question comes from."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._heard = Heard()
        quiet = logging.Logger("librdkafka")
        quiet.addHandler(self._heard)
        self.client = make_client(
            AdminClient,
            {
                **client_options(settings),
                "error_cb": self._heard,
                "logger": quiet,
                "socket.timeout.ms": int(ANSWER_SECONDS * 1000),
            },
        )

    def reach(self) -> None:
        """Return once a broker answers.

        Raises `ConfigurationError` at once when the log-in is refused or TLS does not come about, and
        `TransientError` after five seconds without an answer.
        """
        deadline = time.monotonic() + REACHED_SECONDS
        while True:
            try:
                self.client.list_topics(timeout=_POLL)
                return
            except KafkaException as error:
                self.client.poll(0)
                told = self._heard.telling
                certain = self._heard.refused or (told is not None and told.code() == KafkaError._SSL)
                if certain or time.monotonic() >= deadline:
                    raise self.failed(error) from None

    def failed(self, error: KafkaException | TimeoutError) -> LetheError:
        """Say what kept a question from being answered."""
        self.client.poll(0)
        told = self._heard.telling
        if told is None and isinstance(error, KafkaException):
            told = error.args[0]
        return unreachable(self._settings, told, self._heard.hung_up)
