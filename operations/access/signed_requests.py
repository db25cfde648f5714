"""Requests that are signed: who asks is who holds the key, and what they may do is what their account may.

A signed request is a JSON object with the fields of any request and `time` (RFC 3339), `key` (the number of one that is
registered) and `signature`: Ed25519 (RFC 8032) in base64 over `DOMAIN` and the canonical JSON (RFC 8785) of the rest.
It counts for a day, as long as the topic keeps it, and its id counts once: the same request again is the same request,
another one under the id of an earlier one is refused.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import rfc8785
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from lethe.keys.ring import KeyRing
from lethe.operations.access import tables
from lethe.operations.access.accounts import Person, person_of
from lethe.operations.access.database import Database
from lethe.operations.access.grants import RefusedError
from lethe.schemas.errors import InputError

DOMAIN: Final = b"lethe request v1\n"
COUNTS_FOR: Final = timedelta(hours=24)
AHEAD: Final = timedelta(minutes=5)
"""How far the clock of whoever signs may be ahead of this one."""
_KIND: Final = "ed25519:"
_KEY: Final = re.compile(r"[0-9a-f]{16}")
_UNSIGNED: Final = (
    "it is not signed: sign it with a registered key (lethe users keys add), or let the site take unsigned ones "
    "(requests.signed = false)"
)
_WRONG: Final = "the signature is not of this request by a key that is registered here and in force"


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A key that signs requests in the name of an account."""

    id: str
    account: str
    title: str
    added: datetime
    revoked: datetime | None


class RequestKeys:
    """The registered keys of a database, and which requests they have signed."""

    def __init__(self, database: Database, ring: KeyRing, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._ring = ring
        self._clock = clock

    def add(self, account: str, public: bytes, title: str) -> RequestKey:
        """Register the public key (32 bytes) of an account. A key that was revoked stays so."""
        if len(public) != 32:
            raise InputError("a public key of Ed25519 has 32 bytes")
        key_id = _id_of(public)
        with self._database.begin() as session:
            owner = session.get(tables.Account, account)
            if owner is None:
                raise InputError("there is no such account")
            if session.get(tables.RequestKey, key_id) is not None:
                raise InputError("this key is registered already, or was: a revoked one never comes back")
            row = tables.RequestKey(
                id=key_id,
                account=account,
                public=public.hex(),
                title=title.strip()[:200],
                added=self._clock(),
            )
            session.add(row)
            return _key_of(row, owner.name)

    def all(self) -> list[RequestKey]:
        """List every key, oldest first."""
        rows = (
            select(tables.RequestKey, tables.Account.name)
            .join(tables.Account, tables.Account.id == tables.RequestKey.account)
            .order_by(tables.RequestKey.added)
        )
        with self._database.begin() as session:
            return [_key_of(row, name) for row, name in session.execute(rows)]

    def revoke(self, key_id: str) -> None:
        """Revoke a key: what it signs from now on is refused, and what waits in the topic, too."""
        with self._database.begin(ends=True) as session:
            row = session.get(tables.RequestKey, key_id)
            if row is None:
                raise InputError("there is no such key; lethe users keys list shows them")
            row.revoked = row.revoked or self._clock()

    def signer(self, request: Mapping[str, Any]) -> Person:
        """Return who signed a request; it counts as taken from here on.

        Raises `RefusedError` for what is unsigned, altered, by another key, too old, of the future, or another request
        under an id that was used. What exactly is wrong with a signature is not told.
        """
        if not {"key", "signature"} <= set(request):
            raise RefusedError(_UNSIGNED)
        now = self._clock()
        with self._database.begin() as session:
            person = self._owner(session, request)
            _check_time(request.get("time"), now)
            self._take(session, request, now)
        return person

    def _owner(self, session: Session, request: Mapping[str, Any]) -> Person:
        key_id, signature = request["key"], request["signature"]
        row = None
        if isinstance(key_id, str) and _KEY.fullmatch(key_id):
            row = session.get(tables.RequestKey, key_id)
        if row is None or row.revoked is not None:
            raise RefusedError(_WRONG)
        try:
            proof = base64.b64decode(str(signature).encode(), validate=True)
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(row.public)).verify(proof, signed_bytes(request))
        except (InvalidSignature, binascii.Error, ValueError, InputError):
            raise RefusedError(_WRONG) from None
        account = session.get(tables.Account, row.account)
        if account is None or account.disabled:
            raise RefusedError("the account that the key signs for is closed")
        return person_of(account)

    def _take(self, session: Session, request: Mapping[str, Any], now: datetime) -> None:
        """Note a request, by keyed digests of its id and of all it says; refuse another one under the same id."""
        key = self._ring.named("requests", create=True).salt_key.reveal()
        known_as = hmac.new(key, b"id\0" + str(request["id"]).lower().encode(), sha256).hexdigest()
        said = hmac.new(key, b"said\0" + signed_bytes(request), sha256).hexdigest()
        session.execute(
            delete(tables.SeenRequest).where(tables.SeenRequest.taken < now - 2 * COUNTS_FOR - AHEAD)
        )
        row = session.get(tables.SeenRequest, known_as, with_for_update=True)
        if row is None:
            session.add(tables.SeenRequest(id=known_as, said=said, taken=now))
        elif not hmac.compare_digest(row.said, said):
            raise RefusedError("its id was another request's: each request has an id of its own")


def signed_bytes(request: Mapping[str, Any]) -> bytes:
    """Return what is signed: `DOMAIN` and the canonical JSON of all fields but the signature."""
    try:
        return DOMAIN + rfc8785.dumps({k: v for k, v in request.items() if k != "signature"})
    except (rfc8785.CanonicalizationError, UnicodeError):
        raise InputError("a request's fields are texts") from None


def new_key() -> tuple[bytes, str]:
    """Make a key pair: the private one as PEM, the public one as text to be registered."""
    secret = Ed25519PrivateKey.generate()
    pem = secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, _KIND + base64.b64encode(secret.public_key().public_bytes_raw()).decode()


def private_key(pem: bytes) -> bytes:
    """Read a private key from PEM; raises `InputError` for what is none of Ed25519."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError("that file is no private key of Ed25519 (PEM, PKCS 8)")
    return key.private_bytes_raw()


def public_key(text: str) -> bytes:
    """Read a public key as `new_key` writes it, or its 32 bytes in base64."""
    try:
        found = base64.b64decode(text.strip().removeprefix(_KIND), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != 32:
        raise InputError("a public key is written ed25519: and its 32 bytes in base64")
    return found


def sign(request: Mapping[str, Any], private: bytes, now: datetime) -> dict[str, Any]:
    """Sign a request with a private key (32 bytes): adds `id` and `time` where it has none, `key` and `signature`."""
    secret = Ed25519PrivateKey.from_private_bytes(private)
    key_id = _id_of(secret.public_key().public_bytes_raw())
    said = {"id": str(uuid.uuid4()), "time": now.astimezone(UTC).isoformat(), **request, "key": key_id}
    return {**said, "signature": base64.b64encode(secret.sign(signed_bytes(said))).decode()}


def _check_time(text: Any, now: datetime) -> None:
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        time = None
    if time is None or time.tzinfo is None:
        raise RefusedError("time: when it was signed is needed, with a zone, such as 2026-11-30T08:00:00Z")
    if time > now + AHEAD:
        raise RefusedError("its time lies in the future: set the clock of whoever signs, and sign it again")
    if time <= now - COUNTS_FOR:
        raise RefusedError(
            f"it was signed more than {int(COUNTS_FOR.total_seconds()) // 3600} hours ago: sign it again"
        )


def _id_of(public: bytes) -> str:
    """Return the id of a public key, by which requests name it."""
    return sha256(public).hexdigest()[:16]


def _key_of(row: tables.RequestKey, account: str) -> RequestKey:
    return RequestKey(row.id, account, row.title, row.added, row.revoked)
