"""What is written about keys beside the tables: a wrapped secret, or the mark of destruction."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lethe.keys.providers.choice import LOCAL
from lethe.schemas.errors import IntegrityError

_VERSION = 1
_VERSION_WITH_PROVIDER = 2
_MOST_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A wrapped secret, and the name of the provider that can unwrap it."""

    provider: str
    wrapped: bytes


def wrapped_json(key_id: str, created: datetime, wrapped: bytes, provider: str = LOCAL) -> bytes:
    """Write the object that keeps a wrapped secret. Version 1, without a provider, means the local directory."""
    text = b64encode(wrapped).decode()
    if provider == LOCAL:
        return _json(_VERSION, key_id, created=created.isoformat(), wrapped=text)
    return _json(_VERSION_WITH_PROVIDER, key_id, provider=provider, created=created.isoformat(), wrapped=text)


def destroyed_json(
    key_id: str, created: datetime | None, destroyed: datetime, keks: list[tuple[str, str]] | None = None
) -> bytes:
    """Write the object that marks keys as destroyed. `created` is None when it is not known.

    `keks`: where key-encryption keys were, as (provider, name there), beside the local directory's of that key id.
    """
    made = None if created is None else created.isoformat()
    places = {"keks": [list(place) for place in keks]} if keks else {}
    return _json(_VERSION, key_id, created=made, destroyed=destroyed.isoformat(), **places)


def read_keks(key_id: str, data: bytes | None) -> list[tuple[str, str]]:
    """Read where key-encryption keys were, by the mark of destruction; nothing where it does not say."""
    try:
        return [(str(name), str(kek)) for name, kek in _fields(key_id, data or b"").get("keks", ())]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []


def read_wrapped(key_id: str, data: bytes, path: str) -> Wrapped:
    """Read the wrapped secret of that key id; `IntegrityError` when the object is damaged or another's."""
    try:
        fields = _fields(key_id, data)
        provider = LOCAL if fields["version"] == _VERSION else fields["provider"]
        if not isinstance(provider, str):
            raise TypeError
        return Wrapped(provider, b64decode(fields["wrapped"], validate=True))
    except (KeyError, TypeError, ValueError, RecursionError):
        raise IntegrityError(
            f"the wrapped keys {key_id} are damaged: restore {path} from the warehouse's backup"
        ) from None


def read_created(key_id: str, data: bytes | None) -> datetime | None:
    """Read when the keys were made, by either object; None when there is no object or it does not say."""
    if data is None:
        return None
    try:
        created = datetime.fromisoformat(_fields(key_id, data)["created"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return created if created.tzinfo else None


def _json(version: int, key_id: str, **fields: str | list[list[str]] | None) -> bytes:
    return json.dumps({"version": version, "key_id": key_id, **fields}, indent=1).encode() + b"\n"


def _fields(key_id: str, data: bytes) -> dict[str, Any]:
    if len(data) > _MOST_BYTES:
        raise ValueError("too long")
    fields = json.loads(data)
    known = (_VERSION, _VERSION_WITH_PROVIDER)
    if not isinstance(fields, dict) or fields.get("version") not in known or fields.get("key_id") != key_id:
        raise ValueError("another object")
    return fields
