"""What is written about keys beside the tables: a wrapped secret, or the mark of destruction."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from datetime import datetime
from typing import Any

from lethe.schemas.errors import IntegrityError

_VERSION = 1
_MOST_BYTES = 65_536


def wrapped_json(key_id: str, created: datetime, wrapped: bytes) -> bytes:
    """Return the object that keeps a wrapped secret."""
    return _json(key_id, created=created.isoformat(), wrapped=b64encode(wrapped).decode())


def destroyed_json(key_id: str, created: datetime | None, destroyed: datetime) -> bytes:
    """Return the object that marks keys as destroyed. `created` is None when it is not known."""
    made = None if created is None else created.isoformat()
    return _json(key_id, created=made, destroyed=destroyed.isoformat())


def read_wrapped(key_id: str, data: bytes) -> bytes:
    """Return the wrapped secret in the object of that key id; `IntegrityError` when it is damaged or another's."""
    try:
        return b64decode(_fields(key_id, data)["wrapped"], validate=True)
    except (KeyError, TypeError, ValueError, RecursionError):
        raise IntegrityError(
            f"the wrapped keys {key_id} are damaged: restore _keys/{key_id}.json from the warehouse's backup"
        ) from None


def read_created(key_id: str, data: bytes | None) -> datetime | None:
    """Return when the keys were made, by either object; None when there is no object or it does not say."""
    if data is None:
        return None
    try:
        created = datetime.fromisoformat(_fields(key_id, data)["created"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return created if created.tzinfo else None


def _json(key_id: str, **fields: str | None) -> bytes:
    return json.dumps({"version": _VERSION, "key_id": key_id, **fields}, indent=1).encode() + b"\n"


def _fields(key_id: str, data: bytes) -> dict[str, Any]:
    if len(data) > _MOST_BYTES:
        raise ValueError("too long")
    fields = json.loads(data)
    if not isinstance(fields, dict) or (fields.get("version"), fields.get("key_id")) != (_VERSION, key_id):
        raise ValueError("another object")
    return fields
