"""Clocks, providers and stores for tests, and a process that dies where it is told to."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lethe.schemas.errors import ConfigurationError, IntegrityError


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


class Crash(BaseException):
    """The process is gone. Not an `Exception`: nothing may handle it."""


class Mortal:
    """Something whose calls are counted, and which dies before or after the call of a given number.

    After its death every further call dies too, so that no clean-up of the dead is mistaken for recovery.
    """

    def __init__(self, dies_at: int | None, persisted: bool) -> None:
        self.calls = 0
        self.dead = False
        self._dies_at = dies_at
        self._persisted = persisted

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.dead:
            raise Crash
        here = self.calls == self._dies_at
        self.calls += 1
        self.dead = here
        if here and not self._persisted:
            raise Crash
        result = function(*args, **kwargs)
        if here:
            raise Crash
        return result

    def wrapping(self, target: Any) -> Any:
        """The same object, every method of which can be the last."""
        return _Wrapping(self, target)


class Interrupted(Mortal):
    """Something that lets another worker run to its end before the call of a given number."""

    def __init__(self, at: int | None, other: Callable[[], object]) -> None:
        super().__init__(None, persisted=True)
        self._at = at
        self._other = other

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.calls == self._at:
            self._other()
        return super().call(function, *args, **kwargs)


class _Wrapping:
    def __init__(self, mortal: Mortal, target: Any) -> None:
        self._mortal = mortal
        self._target = target

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)
        return lambda *args, **kwargs: self._mortal.call(method, *args, **kwargs)


class MemoryBlobs:
    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        self.objects: dict[str, bytes] = objects or {}

    def get(self, path: str) -> bytes | None:
        return self.objects.get(path)

    def create(self, path: str, data: bytes) -> bool:
        return self.objects.setdefault(path, data) is data

    def delete(self, path: str) -> None:
        self.objects.pop(path, None)

    def list(self, prefix: str) -> builtins.list[str]:
        return sorted(path for path in tuple(self.objects) if path.startswith(prefix))


class ForgetfulProvider:
    """A provider that keeps no tombstones, as most key services do: what is destroyed can be made again."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
        self.unwrapped = 0

    def create(self, key_id: str) -> None:
        self.keys.setdefault(key_id, os.urandom(32))

    def wrap(self, key_id: str, plaintext: bytes) -> bytes:
        return AESGCM(self._key(key_id)).encrypt(bytes(12), plaintext, key_id.encode())

    def unwrap(self, key_id: str, wrapped: bytes) -> bytes:
        self.unwrapped += 1
        key = self._key(key_id)
        try:
            return AESGCM(key).decrypt(bytes(12), wrapped, key_id.encode())
        except InvalidTag:
            raise IntegrityError("does not open") from None

    def destroy(self, key_id: str) -> None:
        self.keys.pop(key_id, None)

    def destroyed_for_good_at(self, key_id: str) -> datetime | None:
        return None if key_id in self.keys else datetime.now(UTC)

    def list(self) -> builtins.list[str]:
        return sorted(self.keys)

    def describe(self) -> str:
        return "a key service that forgets"

    def _key(self, key_id: str) -> bytes:
        key = self.keys.get(key_id)
        if key is None:
            raise ConfigurationError(f"no key {key_id}")
        return key
