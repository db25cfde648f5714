"""What the clients of the broker log in with: read from files or settings each time it is asked for, so that a password
or a certificate that was rotated is used from the next connection on."""

from __future__ import annotations

import base64
import binascii
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Final

import orjson

from lethe.operations.settings import Kafka
from lethe.schemas.errors import ConfigurationError, TransientError
from lethe.schemas.sections import Secret

_LONGEST_TOKEN: Final = 65_536
_TOKEN_SECONDS: Final = 10.0
_ASSUMED_SECONDS: Final = 300.0  # how long a token without an expiry is used


class Credentials:
    """The log-in of one installation. Raises `ConfigurationError`, naming the setting, for what cannot be used."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka

    def fingerprint(self) -> tuple[object, ...]:
        """Return something that changes when one of the files does."""
        kafka = self._kafka
        return tuple(
            _state(file)
            for file in (
                kafka.sasl_password_file, kafka.ssl_ca_file, kafka.ssl_certificate_file, kafka.ssl_key_file,
                kafka.ssl_key_password_file, kafka.oauth_client_secret_file,
            )
        )  # fmt: skip

    def password(self) -> str | None:
        """Return the password of the log-in, without the line end a file may close with."""
        return _secret("sasl_password", self._kafka.sasl_password, self._kafka.sasl_password_file)

    def key_password(self) -> str | None:
        """Return the password of the client key."""
        return _secret("ssl_key_password", self._kafka.ssl_key_password, self._kafka.ssl_key_password_file)

    def token(self) -> tuple[str, float]:
        """Return an OAuth token and when it ends, in seconds since 1970.

        From `kafka.oauth_token_file`, or from `kafka.oauth_url` by the grant of client credentials (RFC 6749, 4.4).
        """
        kafka = self._kafka
        if kafka.oauth_token_file is not None:
            found = _read("oauth_token_file", kafka.oauth_token_file).strip()
            if (ends := _expiry(found)) <= time.time():
                raise ConfigurationError(
                    f"kafka.oauth_token_file {kafka.oauth_token_file}: its token has ended; who keeps it fresh?"
                )
            return found, ends
        form = {"grant_type": "client_credentials"} | (
            {"scope": kafka.oauth_scope} if kafka.oauth_scope else {}
        )
        secret = _secret("oauth_client_secret", kafka.oauth_client_secret, kafka.oauth_client_secret_file)
        pair = f"{urllib.parse.quote(kafka.oauth_client_id or '')}:{urllib.parse.quote(secret or '')}"
        request = urllib.request.Request(  # noqa: S310  (https or http, as the settings checked)
            str(kafka.oauth_url),
            urllib.parse.urlencode(form).encode(),
            {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()},
        )
        try:
            with urllib.request.urlopen(request, timeout=_TOKEN_SECONDS) as answer:  # noqa: S310
                found = orjson.loads(answer.read(_LONGEST_TOKEN))
            token = str(found["access_token"])
        except urllib.error.HTTPError as error:
            raise ConfigurationError(
                f"kafka.oauth_url: the token service answers {error.code}; check kafka.oauth_client_id and its secret"
            ) from None
        except (OSError, KeyError, TypeError, orjson.JSONDecodeError) as error:
            raise TransientError(
                f"kafka.oauth_url: no token ({_why(error)}); does the token service answer?"
            ) from None
        lives = found.get("expires_in")
        return token, time.time() + lives if isinstance(lives, int | float) else _expiry(token)

    def ssl_context(self) -> ssl.SSLContext:
        """Make the context of a TLS connection; raises `ConfigurationError` for a file that cannot be used."""
        kafka = self._kafka
        ca = None if kafka.ssl_ca_file is None else _read("ssl_ca_file", kafka.ssl_ca_file)
        try:
            context = ssl.create_default_context(cadata=ca)
        except ssl.SSLError:
            raise ConfigurationError(
                f"kafka.ssl_ca_file {kafka.ssl_ca_file}: holds no certificate in PEM form"
            ) from None
        self.load_certificate(context)
        return context

    def load_certificate(self, context: ssl.SSLContext) -> None:
        """Give a context the client's certificate, also one that is in use: new connections take the new one."""
        kafka = self._kafka
        if kafka.ssl_certificate_file is None:
            return
        _read("ssl_certificate_file", kafka.ssl_certificate_file)
        if kafka.ssl_key_file is not None:
            _read("ssl_key_file", kafka.ssl_key_file)
        password = self.key_password()
        try:
            # Without a password of its own the library would ask for it at the terminal.
            context.load_cert_chain(
                str(kafka.ssl_certificate_file),
                None if kafka.ssl_key_file is None else str(kafka.ssl_key_file),
                password=password or "",
            )
        except ssl.SSLError as error:
            key = kafka.ssl_key_file or kafka.ssl_certificate_file
            if error.reason == "KEY_VALUES_MISMATCH":
                why = f"{key}: is not the key of kafka.ssl_certificate_file {kafka.ssl_certificate_file}"
            elif "ENCRYPTED" in _read("ssl_key_file", key):
                said = "is encrypted: set kafka.ssl_key_password_file" if password is None else (
                    "kafka.ssl_key_password does not open it"
                )  # fmt: skip
                why = f"{key}: {said}"
            else:
                why = f"{key}: holds no key or certificate in PEM form that can be used"
            raise ConfigurationError(f"kafka.ssl_key_file {why}") from None

    def options(self) -> dict[str, Any]:
        """Return the settings of librdkafka, after a look at each file: what it says of them helps nobody."""
        kafka = self._kafka
        found: dict[str, Any] = {"security.protocol": kafka.security_protocol}
        if kafka.security_protocol.endswith("SSL"):
            self.ssl_context()
            found |= {
                "ssl.ca.location": _text(kafka.ssl_ca_file),
                "ssl.certificate.location": _text(kafka.ssl_certificate_file),
                "ssl.key.location": _text(kafka.ssl_key_file or kafka.ssl_certificate_file),
                "ssl.key.password": self.key_password(),
            }
        if kafka.security_protocol.startswith("SASL"):
            found["sasl.mechanism"] = kafka.sasl_mechanism
            if kafka.sasl_mechanism == "OAUTHBEARER":
                self.token()
                found["oauth_cb"] = lambda _: self.token()
            else:
                found |= {"sasl.username": kafka.sasl_username, "sasl.password": self.password()}
        return {name: value for name, value in found.items() if value is not None}


def _why(error: Exception) -> str:
    """Say why a token service gave no token, in words of ours: an answer may hold anything."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    if isinstance(error, TimeoutError):
        return f"none within {_TOKEN_SECONDS:.0f} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "its answer is none of OAuth 2.0"


def _secret(name: str, given: Secret | None, file: Path | None) -> str | None:
    if file is not None:
        return _read(f"{name}_file", file).rstrip("\r\n")
    return None if given is None else given.get_secret_value()


def _read(name: str, file: Path) -> str:
    try:
        found = file.read_text("utf-8")
    except OSError as error:
        raise ConfigurationError(f"kafka.{name} {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"kafka.{name} {file}: is not text; PEM files and passwords are") from None
    if not found.strip():
        raise ConfigurationError(f"kafka.{name} {file}: is empty")
    return found


def _text(file: Path | None) -> str | None:
    return None if file is None else str(file)


def _state(file: Path | None) -> tuple[int, int, int] | None:
    try:
        found = None if file is None else file.stat()
    except OSError:
        return 0, 0, 0
    return None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino)


def _expiry(token: str) -> float:
    """Read when a token ends from its `exp` claim (RFC 7519); nothing of it is trusted, the broker checks it."""
    try:
        part = token.split(".")[1]
        return float(orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return time.time() + _ASSUMED_SECONDS
