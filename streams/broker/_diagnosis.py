"""Why the broker cannot be reached, in one line: from what its library heard, and from one connection of our own.

librdkafka hears of a certificate only that it was not accepted, and of a listener that speaks TLS to a client that does
not only that it hung up. One handshake through the standard library says which it is.
"""

from __future__ import annotations

import logging
import re
import socket
import ssl
import threading
from typing import Any, Final

from confluent_kafka import KafkaError

from lethe.operations.settings import Kafka, Settings
from lethe.schemas.errors import ConfigurationError, LetheError, TransientError
from lethe.streams.broker._credentials import Credentials

_PROBE_SECONDS: Final = 2.0
_REFUSED: Final = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})
_NOISE: Final = re.compile(
    r"^\S+?://\S+?: |^\S+/(?:bootstrap|[0-9]+): | \(after \d+ms in state \w+(?:[^()]|\([^()]*\))*\)"
)


class Heard(logging.Handler):
    """The errors a client's library reported, as its `error_cb` and handler of its log. The telling one is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.hung_up = False  # no error to the library: it connects again
        self._lock = threading.Lock()
        self._refused: KafkaError | None = None
        self._last: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        """Take in an error the library reports. Called from whatever thread polls the client."""
        with self._lock:
            if error.code() in _REFUSED:
                self._refused = error
            elif error.code() != KafkaError._ALL_BROKERS_DOWN:
                self._last = error

    def emit(self, record: logging.LogRecord) -> None:
        """Take in a line of the library's log."""
        self.hung_up |= "Disconnected" in record.getMessage()

    @property
    def refused(self) -> bool:
        """Tell whether the broker refused the log-in: asking again changes nothing."""
        return self._refused is not None

    @property
    def telling(self) -> KafkaError | None:
        """Return the error that says most."""
        return self._refused or self._last

    def forget(self) -> None:
        """Begin anew, with other credentials."""
        with self._lock:
            self._refused = self._last = None


def unreachable(settings: Settings, heard: KafkaError | None, hung_up: bool = False) -> LetheError:
    """Say why the broker cannot be reached: `ConfigurationError` for what no trying again mends."""
    kafka, at = settings.kafka, settings.bootstrap
    if heard is not None and heard.code() in _REFUSED:
        return ConfigurationError(f"the broker at {at} refuses the log-in: {_login(settings, heard)}")
    if heard is not None and heard.code() == KafkaError._RESOLVE:
        return TransientError(
            f"the broker at {at}: the host's name cannot be resolved; is `bootstrap` right?"
        )
    if (why := _probe(settings)) is not None:
        return ConfigurationError(f"the broker at {at} cannot be used: {why}")
    if heard is not None and "alert" in heard.str():
        return ConfigurationError(
            f"the broker at {at} refuses the client's certificate ({_plain(heard)}); set kafka.ssl_certificate_file "
            "and kafka.ssl_key_file to ones it accepts"
        )
    if hung_up and not kafka.security_protocol.startswith("SASL"):
        wanted = "SASL_SSL" if kafka.security_protocol == "SSL" else "SASL_PLAINTEXT"
        return TransientError(
            f"the broker at {at} hangs up; does its listener want a log-in (kafka.security_protocol {wanted})?"
        )
    detail = "" if heard is None else f" ({_plain(heard)})"
    return TransientError(f"no answer from the broker at {at}{detail}; is it running, is `bootstrap` right?")


def _login(settings: Settings, heard: KafkaError) -> str:
    kafka, text = settings.kafka, heard.str()
    if "supported mechanisms" in text:
        return (
            f"its listener does not take {kafka.sasl_mechanism} ({_plain(heard)}); check kafka.security_protocol and "
            "kafka.sasl_mechanism"
        )
    if kafka.sasl_mechanism == "OAUTHBEARER":
        return f"it does not accept the token ({_plain(heard)}); check kafka.oauth_*"
    return (
        f"wrong user or password by {kafka.sasl_mechanism}; check kafka.sasl_username and kafka.sasl_password"
    )


def _plain(error: KafkaError) -> str:
    """Cut addresses and times out of what the library says, for one line that stays the same."""
    return _NOISE.sub("", error.str())[:200].strip() or error.name()


def _probe(settings: Settings) -> str | None:
    """Connect to the first broker that answers and say what is wrong with TLS there, if anything is."""
    wants_tls = settings.kafka.security_protocol.endswith("SSL")
    for address in settings.bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        host = host.strip("[]")
        try:
            with socket.create_connection((host, int(port)), _PROBE_SECONDS) as plain:
                if wants_tls:
                    return _handshake(plain, host, settings.kafka)
                return _speaks_tls(plain)
        except (OSError, ValueError):
            continue
    return None


def _handshake(plain: socket.socket, host: str, kafka: Kafka) -> str | None:
    context = Credentials(kafka).ssl_context()
    try:
        with context.wrap_socket(plain, server_hostname=host):
            return None
    except ssl.SSLCertVerificationError as error:
        reason = {10: "it has expired", 9: "it is not valid yet"}.get(error.verify_code, error.verify_message)
        if error.verify_code in (62, 64):  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
            return (
                f"its certificate is not made out to the host {host}; name the broker as its certificate does"
            )
        if error.verify_code in (18, 19, 20, 21):  # self-signed, or of an issuer that is not known
            if kafka.ssl_ca_file is None:
                return "its certificate is of an authority that this machine does not know; set kafka.ssl_ca_file"
            return "its certificate is of an authority that kafka.ssl_ca_file does not hold"
        return f"its certificate is not accepted: {reason}"
    except ssl.SSLError as error:
        if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING"):
            return "its listener does not speak TLS; check kafka.security_protocol and the port"
        return None
    except TimeoutError:  # it accepts and says nothing, whatever it speaks
        return None
    except OSError:
        return "its listener does not speak TLS; check kafka.security_protocol and the port"


def _speaks_tls(plain: socket.socket) -> str | None:
    """Tell whether a listener that was to speak plainly wants TLS: it answers the beginning of a handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent over it: only whether it is TLS is asked
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello: Any = context.wrap_bio(incoming, outgoing)
    try:
        hello.do_handshake()
    except ssl.SSLWantReadError:
        plain.sendall(outgoing.read())
    plain.settimeout(_PROBE_SECONDS)
    answer = plain.recv(5)
    # RFC 8446, 5.1: a record begins with its type (22 a handshake, 21 an alert) and the version 3.x.
    if len(answer) >= 2 and answer[0] in (21, 22) and answer[1] == 3:
        return "its listener speaks TLS, kafka.security_protocol does not; set it to SSL or SASL_SSL"
    return None
