"""The connection to a service: where it is, whom to trust, and what its refusals mean to whoever typed the command."""

from __future__ import annotations

import os
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlencode, urlsplit

import orjson

from lethe.console.cli.remote import session_file
from lethe.schemas.errors import ConfigurationError, InputError, LetheError, TransientError

SERVER: Final = "LETHE_SERVER"
CA_FILE: Final = "LETHE_CA_FILE"
_PATIENT: Final = 600.0  # seconds without a byte: an erasure of many people writes for long before it answers
_MOST_BYTES: Final = 1 << 30
_MOST_OF_A_REFUSAL: Final = 1 << 20
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class RefusedByServiceError(LetheError):
    """The service refused; the text is the service's own, and says what to do."""


class NotDoneError(LetheError):
    """Nothing was done yet: a second person has to approve it."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token, and what was asked, elsewhere."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


@dataclass
class Server:
    """A service, by its URL as `LETHE_SERVER` says it."""

    url: str
    ca_file: str | None = None

    @classmethod
    def named(cls, env: Mapping[str, str]) -> Server | None:
        """Return the service the environment names; None without one. Raises `ConfigurationError` for no URL."""
        url = env.get(SERVER, "").strip().rstrip("/")
        if not url:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.username:
            raise ConfigurationError(f"{SERVER} is a URL such as https://lethe.example")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ConfigurationError(
                f"{SERVER} begins with https://: over plain HTTP anybody on the way reads what is asked"
            )
        return cls(url, env.get(CA_FILE) or None)

    @cached_property
    def session(self) -> session_file.Session:
        """The session here; raises `ConfigurationError` where nobody has signed in."""
        found = session_file.read(self.url)
        if found is None:
            raise ConfigurationError(f"you are not signed in at {self.url}: lethe login")
        return found

    def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, signed_in: bool = True
    ) -> Any:
        """Ask and return the answer's JSON, None for an empty one.

        Raises `NotDoneError` while a second person has to approve it, `ConfigurationError` when signing in is needed,
        `TransientError` when the service does not answer, `RefusedByServiceError` for what it refuses.
        """
        with self._answering(method, path, body, self.session.token if signed_in else None) as response:
            return self._read(response, signed_in)

    def download(self, path: str, body: Mapping[str, Any], file: Path) -> Mapping[str, str]:
        """Ask for a file and write it for its owner alone; return the answer's headers. Raises as `ask` does."""
        with self._answering("POST", path, body, self.session.token) as response:
            if response.status != 200:
                self._read(response, signed_in=True)
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                shutil.copyfileobj(response, out)
            return dict(response.headers.items())

    def _read(self, response: Any, signed_in: bool) -> Any:
        """Return the JSON of an answer; raises as `ask` does."""
        data = response.read(_MOST_BYTES if response.status < 300 else _MOST_OF_A_REFUSAL)
        try:
            answer = orjson.loads(data) if data else None
        except orjson.JSONDecodeError:
            raise ConfigurationError(f"what answers at {self.url} is no Lethe service ({SERVER})") from None
        if response.status == 202 and isinstance(answer, dict):
            raise NotDoneError(str(answer.get("told")))
        if response.status < 300:
            return answer
        told = answer.get("error") if isinstance(answer, dict) else None
        return self._refuse(response.status, str(told or f"status {response.status}"), signed_in)

    def _refuse(self, status: int, told: str, signed_in: bool) -> NoReturn:
        if status == 401 and signed_in:
            session_file.forget(self.url)
            raise ConfigurationError("the session has ended: lethe login")
        if status in (429, 503):
            raise TransientError(told)
        if status == 404:
            raise ConfigurationError(
                f"the service at {self.url} does not know this: is it of the same release?"
            )
        if status == 422:
            raise InputError(told)
        raise RefusedByServiceError(told)

    @contextmanager
    def _answering(
        self, method: str, path: str, body: Mapping[str, Any] | None, token: str | None
    ) -> Iterator[Any]:
        """Ask, and open what is answered, a refusal too; raises what says why nothing is."""
        try:
            try:
                response = self._opener.open(self._request(method, path, body, token), timeout=_PATIENT)
            except urllib.error.HTTPError as refusal:
                response = refusal
            with response:
                yield response
        except urllib.error.URLError as error:
            raise self._silent(error.reason) from None
        except (OSError, HTTPException) as error:
            raise self._silent(error) from None

    def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None, token: str | None
    ) -> urllib.request.Request:
        url = self.url + path
        if body and method == "GET":
            url += f"?{urlencode(body)}"
        data = None if body is None or method == "GET" else orjson.dumps(body)
        request = urllib.request.Request(url, data=data, method=method)  # noqa: S310  (its scheme was looked at)
        request.add_header("Accept", "application/json")
        if data is not None:
            request.add_header("Content-Type", "application/json")
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        return request

    def _silent(self, why: object) -> LetheError:
        if isinstance(why, ssl.SSLCertVerificationError):
            return ConfigurationError(
                f"the certificate of {self.url} is not trusted here ({why.verify_message}): set {CA_FILE} to the "
                "certificate of the authority that issued it (PEM)"
            )
        said = getattr(why, "strerror", None) or type(why).__name__
        return TransientError(
            f"the service at {self.url} cannot be reached ({said}): is {SERVER} right, and the service up?"
        )

    @cached_property
    def _opener(self) -> urllib.request.OpenerDirector:
        try:
            trust = ssl.create_default_context(cafile=self.ca_file)
        except OSError:
            raise ConfigurationError(f"{CA_FILE} cannot be read as certificates (PEM)") from None
        handlers: list[urllib.request.BaseHandler] = [
            urllib.request.HTTPSHandler(context=trust),
            _NoRedirect(),
        ]
        if not self.url.startswith("https://"):
            handlers.append(urllib.request.ProxyHandler({}))  # what is asked of this machine stays on it
        return urllib.request.build_opener(*handlers)
