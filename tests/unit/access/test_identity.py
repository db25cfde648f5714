"""What an identity provider's answer must say, with a provider of our own that can be made to say anything."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from access_world import World
from joserfc import jwt
from joserfc.jwk import RSAKey

from lethe.operations.access.grants import RefusedError
from lethe.operations.access.identity import IdentityProvider
from lethe.operations.access.roles import Role
from lethe.operations.settings import Identity, Serve
from lethe.schemas.errors import ConfigurationError, LetheError, TransientError

CALLBACK = "https://lethe.test/sign-in/callback"
KEY, OTHER = (RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"}) for kid in ("a", "b"))


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


class Provider:
    """Answers as the specifications say, but for what a test changes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.keys = [KEY]
        self.signed_with = KEY
        self.claims: dict[str, Any] = {}
        self.document: dict[str, Any] = {}
        self.encode: Callable[[dict[str, Any]], str] = self.signed
        self.asked: list[dict[str, str]] = []  # what the token endpoint was sent
        self.nonce = self.challenge = ""
        self.key_looks = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.issuer = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def signed(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "RS256", "kid": self.signed_with.kid}, claims, self.signed_with)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path: str) -> tuple[int, Any]:
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.issuer, "authorization_endpoint": self.issuer + "/auth",
                "token_endpoint": self.issuer + "/token", "jwks_uri": self.issuer + "/keys", **self.document,
            }  # fmt: skip
        if path == "/keys":
            self.key_looks += 1
            return 200, {"keys": [key.as_dict(private=False) for key in self.keys]}
        now = int(self.world.now.timestamp())
        claims = {
            "iss": self.issuer, "aud": "lethe", "sub": "s-1", "iat": now, "exp": now + 300, "nonce": self.nonce,
            "preferred_username": "amal", **self.claims,
        }  # fmt: skip
        challenge = _encoded(hashlib.sha256(self.asked[-1]["code_verifier"].encode()).digest())
        if self.asked[-1].get("code") != "the-code" or challenge != self.challenge:
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": self.encode(claims)}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.reply(*provider.answer(urlsplit(self.path).path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                provider.asked.append({k: v[0] for k, v in parse_qs(body).items()})
                self.reply(*provider.answer(urlsplit(self.path).path))

            def reply(self, status: int, body: Any) -> None:
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        return Handler


@pytest.fixture
def provider(world: World) -> Iterator[Provider]:
    made = Provider(world)
    yield made
    made.close()


def relying(world: World, provider: Provider, **settings: Any) -> IdentityProvider:
    wanted = Identity(issuer=provider.issuer, client_id="lethe", **settings)
    return IdentityProvider(wanted, CALLBACK, world.ring, world.clock)


def begin(here: IdentityProvider, provider: Provider) -> tuple[str, str]:
    """Go to the provider; what it hears, and the cookie."""
    url, cookie = here.begin()
    query = {k: v[0] for k, v in parse_qs(urlsplit(url).query).items()}
    assert query["redirect_uri"] == CALLBACK
    assert query["code_challenge_method"] == "S256"
    assert query["response_type"] == "code"
    provider.nonce, provider.challenge = query["nonce"], query["code_challenge"]
    return query["state"], cookie


def _through(here: IdentityProvider, provider: Provider) -> None:
    state, cookie = begin(here, provider)
    here.finish(cookie, {"state": state, "code": "the-code"})


def test_whom_the_provider_vouches_for_is_bound_to_an_account_once(world: World, provider: Provider) -> None:
    amal = world.person("amal", Role.INVESTIGATOR, password=None)
    here = relying(world, provider)
    state, cookie = begin(here, provider)
    vouched = here.finish(cookie, {"state": state, "code": "the-code"})
    assert world.accounts.by_identity(vouched.issuer, vouched.subject, vouched.name) == amal
    assert world.accounts.by_identity(vouched.issuer, "s-1", "renamed") == amal, "the subject counts now"
    with pytest.raises(RefusedError):
        world.accounts.by_identity(vouched.issuer, "s-2", "amal")
    world.person("bela", Role.APPROVER)
    with pytest.raises(RefusedError):
        world.accounts.by_identity(
            vouched.issuer, "s-3", "bela"
        )  # an account with a password is nobody else's
    world.accounts.disable(amal.id)
    with pytest.raises(RefusedError):
        world.accounts.by_identity(vouched.issuer, "s-1", "amal")


NOW = 1_773_500_400  # the world's clock


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "http://127.0.0.1:1"}, {"iss": None}, {"aud": "other"}, {"aud": ["other", "third"]}, {"aud": None},
        {"aud": ["lethe", "other"]}, {"aud": ["lethe", "other"], "azp": "other"}, {"azp": "other"},
        {"nonce": "another"}, {"nonce": None}, {"exp": 1_700_000_000}, {"exp": None}, {"iat": 1_900_000_000},
        {"iat": None}, {"sub": None}, {"sub": ""}, {"sub": 7}, {"sub": "x" * 256}, {"preferred_username": None},
        {"preferred_username": 7},
    ],
)  # fmt: skip
def test_an_id_token_that_is_not_for_this_sign_in(
    world: World, provider: Provider, claims: dict[str, Any]
) -> None:
    here = relying(world, provider)
    state, cookie = begin(here, provider)
    provider.claims = claims
    with pytest.raises(RefusedError) as refused:
        here.finish(cookie, {"state": state, "code": "the-code"})
    assert "amal" not in str(refused.value)


def _unsigned(claims: dict[str, Any]) -> str:
    head = json.dumps({"alg": "none"}).encode()
    return f"{_encoded(head)}.{_encoded(json.dumps(claims).encode())}."


def _symmetric(claims: dict[str, Any]) -> str:
    """Sign with what everybody can read: the public key, taken for a shared secret."""
    head = _encoded(json.dumps({"alg": "HS256", "kid": "a"}).encode())
    body = f"{head}.{_encoded(json.dumps(claims).encode())}"
    return f"{body}.{_encoded(hmac.digest(KEY.as_pem(private=False), body.encode(), 'sha256'))}"


@pytest.mark.parametrize("how", ["unsigned", "symmetric", "stranger", "mangled", "nothing"])
def test_a_token_that_the_provider_has_not_signed(world: World, provider: Provider, how: str) -> None:
    here = relying(world, provider)
    state, cookie = begin(here, provider)
    stranger = RSAKey.generate_key(2048, {"kid": "a"})
    provider.encode = {
        "unsigned": _unsigned,
        "symmetric": _symmetric,
        "stranger": lambda claims: jwt.encode({"alg": "RS256", "kid": "a"}, claims, stranger),
        "mangled": lambda claims: provider.signed(claims)[:-6] + "AAAAAA",
        "nothing": lambda _: "",
    }[how]
    with pytest.raises(RefusedError):
        here.finish(cookie, {"state": state, "code": "the-code"})


def test_a_provider_that_signs_with_a_new_key_is_asked_for_its_keys_again(
    world: World, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = relying(world, provider)
    state, cookie = begin(here, provider)
    provider.keys, provider.signed_with = [KEY, OTHER], OTHER
    with pytest.raises(RefusedError):
        here.finish(cookie, {"state": state, "code": "the-code"})
    assert provider.key_looks == 1, "not at once: anybody can make up tokens"
    monkeypatch.setattr("lethe.operations.access.identity._LEAST_REFRESH", 0.0)
    state, cookie = begin(here, provider)
    assert here.finish(cookie, {"state": state, "code": "the-code"}).subject == "s-1"
    assert provider.key_looks == 2


def test_an_answer_that_belongs_to_another_sign_in(world: World, provider: Provider) -> None:
    here = relying(world, provider)
    state, cookie = begin(here, provider)
    other_state, other_cookie = begin(here, provider)
    good = {"state": state, "code": "the-code"}
    wrong: list[tuple[str | None, dict[str, str]]] = [
        (other_cookie, good), (cookie, {**good, "state": other_state}), (None, good), ("", good), ("zz", good),
        (cookie[:-2] + "00", good), (cookie, {"code": "the-code"}), (cookie, {"state": state}),
        (cookie, {**good, "error": "access_denied"}), (cookie, {**good, "iss": "https://other.example"}),
        (cookie, {**good, "code": "another"}), (other_cookie, {"state": other_state, "code": "other"}),
    ]  # fmt: skip
    for kept, answer in wrong:
        with pytest.raises(RefusedError):
            here.finish(kept, answer)
    provider.document = {"authorization_response_iss_parameter_supported": True}
    careful = relying(world, provider)
    state, cookie = begin(careful, provider)
    with pytest.raises(RefusedError):
        careful.finish(cookie, {"state": state, "code": "the-code"})
    assert careful.finish(cookie, {"state": state, "code": "the-code", "iss": provider.issuer})


def test_somebody_who_takes_longer_than_ten_minutes(world: World, provider: Provider) -> None:
    here = relying(world, provider)
    state, cookie = begin(here, provider)
    world.now += timedelta(minutes=10)
    with pytest.raises(RefusedError, match="too long"):
        here.finish(cookie, {"state": state, "code": "the-code"})


def test_a_name_by_e_mail_counts_once_the_provider_has_verified_it(world: World, provider: Provider) -> None:
    here = relying(world, provider, name_claim="email")
    for verified, fine in ((None, False), (False, False), ("true", False), (True, True)):
        state, cookie = begin(here, provider)
        provider.claims = {"email": "amal@lethe.test", "email_verified": verified}
        if fine:
            assert here.finish(cookie, {"state": state, "code": "the-code"}).name == "amal@lethe.test"
        else:
            with pytest.raises(RefusedError):
                here.finish(cookie, {"state": state, "code": "the-code"})


def test_a_provider_that_is_another_or_does_not_answer(world: World, provider: Provider) -> None:
    provider.document = {"issuer": "http://127.0.0.1:1"}
    with pytest.raises(ConfigurationError, match="issuer"):
        relying(world, provider).begin()
    for changed in ({"token_endpoint": None}, {"authorization_endpoint": "javascript:alert(1)"}):
        provider.document = changed
        with pytest.raises(ConfigurationError, match="endpoint"):
            _through(relying(world, provider), provider)
    provider.document = {}
    here = relying(world, provider)
    state, cookie = begin(here, provider)
    provider.close()
    for attempt in (
        relying(world, provider).begin,
        lambda: here.finish(cookie, {"state": state, "code": "x"}),
    ):
        with pytest.raises(TransientError, match="local account"):
            attempt()


def test_settings_that_cannot_be(world: World, provider: Provider) -> None:
    for wrong in ({"issuer": "http://provider.example"}, {"scopes": ("profile",)}, {"issuer": "ftp://x"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Identity(**{"issuer": "https://provider.example", "client_id": "lethe", **wrong})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="public_url"):
        Serve(identity=Identity(issuer="https://provider.example", client_id="lethe"))
    for name in ("client_secret_file", "ca_file"):
        with pytest.raises(LetheError, match=name):
            _through(relying(world, provider, **{name: "/nowhere/at/all"}), provider)
