"""Key-encryption keys in the transit engine of OpenBao or HashiCorp Vault.

One transit key (aes256-gcm96) per key id. Lethe's token needs, on the mount: create, read, update, delete and list of
`keys/PREFIX*`, update of `keys/PREFIX*/config`, `encrypt/PREFIX*` and `decrypt/PREFIX*`; it needs no right on `export`
and `backup`, and should have none. Without `create` on `encrypt/`, the engine makes no key by itself for a name it
does not know, which it otherwise would.

What destruction means here: the key is deleted from the engine's storage at once. A snapshot of that storage taken
before still holds it, sealed by the server: docs/keys.md says how snapshots are restored without bringing it back.
Keys that may be exported or backed up in plain text are refused: a copy of theirs opens what was deleted.
"""

from __future__ import annotations

import builtins
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import hvac
import requests
from hvac import exceptions as refusals

from lethe.keys.files import explained
from lethe.keys.providers.interface import checked_key_id, is_key_id
from lethe.schemas.errors import ConfigurationError, IntegrityError, LetheError, TransientError

_TIMEOUT: Final = 5
_DOMAIN: Final = b"lethe/wrapped/v1\0"
_TYPE: Final = "aes256-gcm96"
_MOST_WRAPPED: Final = 4_096


class VaultProvider:
    """A `KeyProvider` over the transit engine at `url`. The token is read from its file at each request."""

    def __init__(
        self,
        url: str,
        token_file: Path,
        clock: Callable[[], datetime],
        mount: str = "transit",
        prefix: str = "lethe.",
        namespace: str | None = None,
        ca_file: Path | None = None,
        timeout: int = _TIMEOUT,
    ) -> None:
        self._url, self._mount, self._prefix = url, mount, prefix
        self._token_file, self._clock = token_file, clock
        self._client = hvac.Client(
            url=url, namespace=namespace, timeout=timeout, verify=str(ca_file) if ca_file else True
        )
        self._lock = threading.Lock()

    def create(self, key_id: str) -> None:
        """Make a key that cannot be exported, or leave the one that is there; refuse one that could be."""
        name = self._name(key_id)
        self._ask(
            "post", f"keys/{name}", {"type": _TYPE, "exportable": False, "allow_plaintext_backup": False}
        )
        self._key(key_id)

    def wrap(self, key_id: str, plaintext: bytes) -> bytes:
        """Encrypt a data key, with the key id as associated data."""
        self._key(key_id)  # the engine would make a key of its own for a name it does not know
        body = {"plaintext": b64encode(plaintext).decode(), "associated_data": _context(key_id)}
        return str(self._ask("post", f"encrypt/{self._name(key_id)}", body)["ciphertext"]).encode()

    def unwrap(self, key_id: str, wrapped: bytes) -> bytes:
        """Decrypt a data key; `IntegrityError` when it was not wrapped under this key and key id."""
        self._key(key_id)
        try:
            body = {
                "ciphertext": wrapped[:_MOST_WRAPPED].decode("ascii"),
                "associated_data": _context(key_id),
            }
            answer = self._ask("post", f"decrypt/{self._name(key_id)}", body)
        except (UnicodeDecodeError, refusals.InvalidRequest):
            self._key(key_id)  # destroyed meanwhile: then that is why
            raise IntegrityError(
                f"the wrapped key {key_id} does not open with the key in {self.describe()}: it was changed, or these "
                "are the keys of another warehouse"
            ) from None
        return b64decode(answer["plaintext"])

    def destroy(self, key_id: str) -> None:
        """Destroy a key for ever. Restartable: run again after a crash, it does what is left.

        1. Allow the deletion. A crash here leaves a key that works and may be deleted.
        2. Delete the key, all of its versions.
        """
        name = self._name(key_id)
        if self._found(key_id) is None:
            return
        try:
            self._ask("post", f"keys/{name}/config", {"deletion_allowed": True})
            self._ask("delete", f"keys/{name}")
        except refusals.InvalidRequest:
            if self._found(key_id) is not None:  # otherwise another process has just deleted it
                raise ConfigurationError(f"{self.describe()} refuses to delete the key {key_id}") from None

    def destroyed_for_good_at(self, key_id: str) -> datetime | None:
        """Return the present instant once the engine has no key of that name, None before."""
        return None if self._found(key_id) is not None else self._clock()

    def list(self) -> builtins.list[str]:
        """List the ids of the keys that are there, sorted; those that were deleted in a way that can be undone, too."""
        try:
            names = self._ask("list", "keys")["keys"]
        except refusals.InvalidPath:
            return []
        ids = (name.removeprefix(self._prefix) for name in names if name.startswith(self._prefix))
        return sorted(key_id for key_id in ids if is_key_id(key_id))

    def describe(self) -> str:
        """Say what this is and where."""
        return f"transit engine {self._mount} of {self._url}"

    def _key(self, key_id: str) -> dict[str, Any]:
        key = self._found(key_id)
        if key is None:
            raise ConfigurationError(
                f"the key {key_id} is not in {self.describe()}: check that this is the engine of this warehouse, or "
                "restore it"
            )
        if key.get("exportable") or key.get("allow_plaintext_backup"):
            raise ConfigurationError(
                f"the key {key_id} in {self.describe()} may be exported or backed up in plain text, so that deleting "
                "it would not be final: move its month with lethe keys migrate, or delete it if nothing was sealed"
            )
        if key.get("imported_key"):
            raise ConfigurationError(
                f"the key {key_id} in {self.describe()} was imported: whoever has its material can bring it back, so "
                "that deleting it would not be final; move its month with lethe keys migrate"
            )
        if key.get("type") != _TYPE or key.get("derived"):
            raise ConfigurationError(f"the key {key_id} in {self.describe()} is not of type {_TYPE}")
        return key

    def _found(self, key_id: str) -> dict[str, Any] | None:
        try:
            return dict(self._ask("get", f"keys/{self._name(key_id)}"))
        except refusals.InvalidPath:
            return None

    def _name(self, key_id: str) -> str:
        return self._prefix + checked_key_id(key_id)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send one request and return the data of the answer; `InvalidPath` and `InvalidRequest` are the caller's."""
        with explained(f"cannot read the token file {self._token_file}"):
            token = self._token_file.read_text("ascii").strip()
        with self._lock, self._explained():
            self._client.token = token
            answer = self._client.adapter.request(method, f"/v1/{self._mount}/{path}", json=body)
        return dict(answer["data"]) if isinstance(answer, dict) and answer.get("data") else {}

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (refusals.InvalidPath, refusals.InvalidRequest):
            raise
        except (refusals.Forbidden, refusals.Unauthorized):
            raise ConfigurationError(
                f"{self.describe()} refuses: check that the token in {self._token_file} is valid and has the rights "
                "that docs/keys.md lists"
            ) from None
        except requests.exceptions.SSLError:
            raise ConfigurationError(
                f"{self.describe()}: its certificate cannot be verified; set ca_file to the authority that issued it"
            ) from None
        except (requests.RequestException, refusals.VaultError) as error:
            raise self._silent(error) from None

    def _silent(self, error: Exception) -> LetheError:
        return TransientError(f"{self.describe()} does not answer as it should: {type(error).__name__}")


def _context(key_id: str) -> str:
    return b64encode(_DOMAIN + key_id.encode()).decode()
