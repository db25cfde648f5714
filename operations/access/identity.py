"""Sign-in through an identity provider: OpenID Connect, authorization code with PKCE.

What is looked up in the specifications: OpenID Connect Core 1.0 (section 3.1.3.7: what an ID token must say), Discovery
1.0, RFC 7636 (PKCE), RFC 9207 (the issuer in the answer, against mixed-up providers). Who somebody is here is decided
by `Accounts.by_identity`; the provider only vouches for issuer and subject.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import ssl
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import httpx
import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from lethe.keys.ring import KeyRing
from lethe.keys.sealing import open_value, seal_value
from lethe.operations.access.accounts import KEY
from lethe.operations.access.grants import RefusedError
from lethe.operations.settings import Identity as Settings
from lethe.schemas.errors import ConfigurationError, LetheError, TransientError

PENDING: Final = timedelta(minutes=10)
"""How long somebody may take at the provider."""

# None that is signed with a shared secret, and never `none`.
_ALGORITHMS: Final = ("RS256", "PS256", "ES256", "ES384", "RS512", "PS512", "EdDSA", "Ed25519")
_LEEWAY: Final = 60  # seconds that two clocks may differ by
_KEEP: Final = 3600.0  # seconds that what the provider says of itself is kept
_LEAST_REFRESH: Final = (
    30.0  # seconds between two looks for a key that is not known: tokens are cheap to make up
)
_TIMEOUT: Final = httpx.Timeout(10.0)
_MOST_BYTES: Final = 1_000_000
_REFUSED: Final = "the identity provider's answer is not for this sign-in: begin again"


@dataclass(frozen=True, slots=True)
class Vouched:
    """Who the provider says somebody is."""

    issuer: str
    subject: str
    name: str


@dataclass(frozen=True, slots=True)
class _Pending:
    """What a browser keeps, sealed, while its holder is at the provider."""

    state: str
    nonce: str
    verifier: str
    ends: float


class IdentityProvider:
    """The provider that the settings name. Asked when first needed, so that the service starts without it."""

    def __init__(
        self, settings: Settings, callback: str, ring: KeyRing, clock: Callable[[], datetime]
    ) -> None:
        self._settings = settings
        self._callback = callback
        self._ring = ring
        self._clock = clock
        self._lock = threading.Lock()
        self._metadata: dict[str, Any] = {}
        self._keys = KeySet([])
        self._heard = -_KEEP

    @property
    def label(self) -> str:
        """What the sign-in page calls it."""
        return self._settings.label

    def begin(self) -> tuple[str, str]:
        """Return the provider's URL to send a browser to, and what the browser brings back as a cookie.

        Raises `TransientError` when the provider does not answer.
        """
        pending = _Pending(
            secrets.token_urlsafe(32),
            secrets.token_urlsafe(32),
            secrets.token_urlsafe(48),
            self._clock().timestamp() + PENDING.total_seconds(),
        )
        url = self._url(self._discovered(), "authorization_endpoint")
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._callback,
            "scope": " ".join(self._settings.scopes),
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": urlsafe_b64encode(hashlib.sha256(pending.verifier.encode()).digest())
            .rstrip(b"=")
            .decode(),
            "code_challenge_method": "S256",
        }
        return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}", self._sealed(pending)

    def finish(self, cookie: str | None, answer: Mapping[str, str]) -> Vouched:
        """Read the provider's answer: query parameters of the callback. Raises `RefusedError` unless all of it fits."""
        pending = self._opened(cookie)
        if not hmac.compare_digest(answer.get("state", "").encode(), pending.state.encode()):
            raise RefusedError(_REFUSED)
        issuer = answer.get("iss")
        supported = self._discovered().get("authorization_response_iss_parameter_supported")
        if (issuer is not None or supported) and issuer != self._settings.issuer:
            raise RefusedError(_REFUSED)
        if "error" in answer or not answer.get("code"):
            raise RefusedError("the identity provider did not sign you in; begin again, or ask who runs it")
        return self._vouched(self._token(answer["code"], pending), pending)

    def _token(self, code: str, pending: _Pending) -> str:
        """Exchange the code for the ID token."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._callback,
            "code_verifier": pending.verifier,
        }
        auth = self._secret()
        if auth is None:
            form["client_id"] = self._settings.client_id
        status, got = self._ask("POST", self._url(self._discovered(), "token_endpoint"), data=form, auth=auth)
        if status != 200:
            raise RefusedError(_REFUSED)
        token = got.get("id_token")
        if not isinstance(token, str):
            raise RefusedError(
                "the identity provider sent no ID token: is `openid` among serve.identity.scopes?"
            )
        return token

    def _vouched(self, token: str, pending: _Pending) -> Vouched:
        """Verify the ID token and read who it is about."""
        try:
            claims = self._decoded(token).claims
            jwt.JWTClaimsRegistry(
                now=lambda: int(self._clock().timestamp()),
                leeway=_LEEWAY,
                iss={"essential": True, "value": self._settings.issuer},
                aud={"essential": True, "value": self._settings.client_id},
                exp={"essential": True},
                iat={"essential": True},
                sub={"essential": True},
            ).validate(claims)
        except (JoseError, ValueError):
            raise RefusedError(_REFUSED) from None
        audience, mine = claims["aud"], self._settings.client_id
        others = isinstance(audience, list) and len(audience) > 1
        if claims.get("azp", None if others else mine) != mine:
            raise RefusedError(_REFUSED)
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), pending.nonce.encode()):
            raise RefusedError(_REFUSED)
        claim = self._settings.name_claim
        if claim == "email" and claims.get("email_verified") is not True:
            raise RefusedError("the identity provider has not verified your e-mail address")
        name, subject = claims.get(claim), claims["sub"]
        if not isinstance(name, str) or not isinstance(subject, str) or not 0 < len(subject) <= 255:
            raise RefusedError(
                f"the identity provider says no {claim} of you: an operator sets serve.identity.name_claim and scopes"
            )
        return Vouched(self._settings.issuer, subject, name)

    def _decoded(self, token: str) -> jwt.Token:
        self._discovered()
        try:
            return jwt.decode(token, self._keys, list(_ALGORITHMS))
        except (JoseError, ValueError):
            # The provider may have begun to sign with a new key.
            if time.monotonic() - self._heard < _LEAST_REFRESH:
                raise
            self._heard = -_KEEP
            self._discovered()
            return jwt.decode(token, self._keys, list(_ALGORITHMS))

    def _discovered(self) -> dict[str, Any]:
        """Return what the provider says of itself, asked once an hour."""
        with self._lock:
            if time.monotonic() - self._heard >= _KEEP:
                issuer = self._settings.issuer
                found = self._get(issuer.rstrip("/") + "/.well-known/openid-configuration")
                if found.get("issuer") != issuer:
                    raise ConfigurationError(
                        "serve.identity.issuer is not what the provider calls itself: copy its `issuer` as it stands"
                    )
                keys = self._get(self._url(found, "jwks_uri"))
                try:
                    self._keys = KeySet.import_key_set(keys)  # type: ignore[arg-type]
                except (JoseError, ValueError, KeyError, TypeError):
                    raise ConfigurationError("the identity provider's keys cannot be read") from None
                self._metadata, self._heard = found, time.monotonic()
            return self._metadata

    def _url(self, metadata: Mapping[str, Any], name: str) -> str:
        """Return one of the provider's URLs, which must be as safe as the issuer's."""
        url = metadata.get(name)
        if not isinstance(url, str) or urlsplit(url).scheme != urlsplit(self._settings.issuer).scheme:
            raise ConfigurationError(f"the identity provider gives no usable {name}")
        return url

    def _get(self, url: str) -> dict[str, Any]:
        status, found = self._ask("GET", url)
        if status != 200:
            raise self._silent(f"status {status}")
        return found

    def _ask(self, method: str, url: str, **options: Any) -> tuple[int, dict[str, Any]]:
        """Ask the provider; return the status and the answer, an empty one where the status is not 200."""
        body = bytearray()
        try:
            with (
                httpx.Client(timeout=_TIMEOUT, verify=self._trust()) as client,
                client.stream(method, url, **options) as answer,
            ):
                if answer.status_code >= 500:
                    raise self._silent(f"status {answer.status_code}")
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > _MOST_BYTES:
                        raise self._silent("an answer that is too large")
            found = orjson.loads(body) if answer.status_code == 200 else {}
        except (httpx.HTTPError, orjson.JSONDecodeError) as error:
            raise self._silent(type(error).__name__) from None
        if not isinstance(found, dict):
            raise self._silent("no JSON object")
        return answer.status_code, found

    def _secret(self) -> tuple[str, str] | None:
        """Return what this client shows of itself (RFC 6749, section 2.3.1); None for a public one."""
        file = self._settings.client_secret_file
        if file is None:
            return None
        try:
            return quote(self._settings.client_id, safe=""), quote(file.read_text().strip(), safe="")
        except (OSError, UnicodeDecodeError):
            raise ConfigurationError("serve.identity.client_secret_file cannot be read") from None

    def _trust(self) -> ssl.SSLContext:
        file: Path | None = self._settings.ca_file
        try:
            return ssl.create_default_context(cafile=None if file is None else str(file))
        except OSError:
            raise ConfigurationError("serve.identity.ca_file cannot be read") from None

    def _silent(self, what: str) -> TransientError:
        return TransientError(
            f"the identity provider does not answer as it should ({what}): try again, or sign in with a local account"
        )

    def _sealed(self, pending: _Pending) -> str:
        keys = self._ring.named(KEY, create=True)
        return seal_value(keys, "accounts", "pending", "-", orjson.dumps(asdict(pending))).hex()

    def _opened(self, cookie: str | None) -> _Pending:
        try:
            keys = self._ring.named(KEY, create=True)
            value = open_value(keys, "accounts", "pending", "-", bytes.fromhex(cookie or ""))
            pending = _Pending(**orjson.loads(value))
        except (LetheError, ValueError, TypeError):
            raise RefusedError(_REFUSED) from None
        if self._clock().timestamp() >= pending.ends:
            raise RefusedError("the sign-in took too long: begin again")
        return pending
