"""Key-encryption keys in Google Cloud KMS, over its REST API.

One key per key id, with one version. Rights needed (on the key ring): cloudkms.cryptoKeys.create, get, list,
cryptoKeyVersions.list, destroy, useToEncrypt, useToDecrypt; restore should be nobody's.

What destruction means here: the version stops working at once, is destroyed after a day (the shortest that KMS takes)
and can be restored until then; copies in Google's backups are gone 45 days after that. A certificate waits for the
day and says when the 45 are over. The name of a destroyed key stays for ever and is never used again.
"""

from __future__ import annotations

import builtins
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

from lethe.keys.providers import _rest
from lethe.keys.providers.interface import checked_key_id, is_key_id
from lethe.schemas.errors import ConfigurationError, ExpiredKeyError, IntegrityError, TransientError

_MOST_WRAPPED: Final = 65_536
_BACKUPS: Final = timedelta(days=45)
_SHORTEST_WAIT: Final = "86400s"
_METADATA: Final = (
    "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token",
    {"Metadata-Flavor": "Google"},
)
_DOMAIN: Final = b"lethe/wrapped/v1\0"


class GcpProvider:
    """A `KeyProvider` over a key ring; without a token file, the machine's own service account asks."""

    def __init__(
        self,
        key_ring: str,
        clock: Callable[[], datetime],
        token_file: Path | None = None,
        protection: Literal["SOFTWARE", "HSM"] = "HSM",
        endpoint: str = "https://cloudkms.googleapis.com",
        timeout: int = _rest.TIMEOUT,
    ) -> None:
        self._ring, self._clock, self._token_file = key_ring, clock, token_file
        self._protection, self._endpoint, self._timeout = protection, endpoint, timeout

    def create(self, key_id: str) -> None:
        """Make a key, or leave the one that is there: a name is given once, so racing callers end with one."""
        name = _encoded(checked_key_id(key_id))
        template = {"algorithm": "GOOGLE_SYMMETRIC_ENCRYPTION", "protectionLevel": self._protection}
        body = {
            "purpose": "ENCRYPT_DECRYPT", "versionTemplate": template, "destroyScheduledDuration": _SHORTEST_WAIT,
        }  # fmt: skip
        self._ask("POST", f"{self._ring}/cryptoKeys?cryptoKeyId={quote(name)}", body, known=(409,))
        self._usable(key_id)

    def wrap(self, key_id: str, plaintext: bytes) -> bytes:
        """Encrypt a data key, with the key id as associated data."""
        self._usable(key_id)
        body = {"plaintext": b64encode(plaintext).decode(), "additionalAuthenticatedData": _context(key_id)}
        answer = self._ask("POST", f"{self._path(key_id)}:encrypt", body)
        return b64decode(answer["ciphertext"])

    def unwrap(self, key_id: str, wrapped: bytes) -> bytes:
        """Decrypt a data key; `IntegrityError` when it was not wrapped under this key and key id."""
        self._usable(key_id)
        if 0 < len(wrapped) <= _MOST_WRAPPED:
            body = {
                "ciphertext": b64encode(wrapped).decode(),
                "additionalAuthenticatedData": _context(key_id),
            }
            answer = self._ask("POST", f"{self._path(key_id)}:decrypt", body, known=(400,))
            if "plaintext" in answer:
                return b64decode(answer["plaintext"])
            self._usable(key_id)  # destroyed meanwhile: then that is why
        raise IntegrityError(
            f"the wrapped key {key_id} does not open with the key in {self.describe()}: it was changed, or this is "
            "the key ring of another warehouse"
        )

    def destroy(self, key_id: str) -> None:
        """Have every version of a key destroyed. Run again after a crash, it does what is left."""
        for version in self._versions(key_id):
            if version["state"] not in ("DESTROYED", "DESTROY_SCHEDULED"):
                self._ask("POST", f"{version['name']}:destroy", {})

    def destroyed_for_good_at(self, key_id: str) -> datetime | None:
        """Return when the last copy of every version is gone; None as long as a version could be restored."""
        versions = self._versions(key_id)
        if any(version["state"] != "DESTROYED" for version in versions):
            return None
        ends = [datetime.fromisoformat(v["destroyEventTime"]) + _BACKUPS for v in versions]
        return max(ends, default=self._clock())

    def list(self) -> builtins.list[str]:
        """List the ids of the keys that are there, or could be restored, sorted."""
        found: builtins.list[str] = []
        page = ""
        while True:
            answer = self._ask("GET", f"{self._ring}/cryptoKeys?pageSize=1000{page}")
            found += [_decoded(key["name"].rpartition("/")[2]) for key in answer.get("cryptoKeys", ())]
            if not answer.get("nextPageToken"):
                break
            page = f"&pageToken={quote(answer['nextPageToken'])}"
        held = (
            k for k in found if is_key_id(k) and any(v["state"] != "DESTROYED" for v in self._versions(k))
        )
        return sorted(held)

    def describe(self) -> str:
        """Say what this is and where."""
        return f"Google Cloud KMS, {self._ring}"

    def _usable(self, key_id: str) -> None:
        versions = self._versions(key_id)
        states = [version["state"] for version in versions]
        if not states:
            raise ConfigurationError(
                f"the key {key_id} is not in {self.describe()}: check that this is the key ring of this warehouse"
            )
        if "DESTROY_SCHEDULED" in states:
            raise ExpiredKeyError(
                f"the key {key_id} is to be destroyed in {self.describe()}: if that is a mistake, restore and "
                "enable its version there before the day is over"
            )
        if "DESTROYED" in states:
            raise ExpiredKeyError(f"the key {key_id} was destroyed; nothing brings it back")
        if any(version.get("importJob") for version in versions):
            raise ConfigurationError(
                f"the key {key_id} in {self.describe()} was imported: whoever has its material can bring it back, so "
                "that destroying it would not be final; move its month with lethe keys migrate"
            )
        if others := sorted({*states} - {"ENABLED"}):
            raise ConfigurationError(
                f"a version of the key {key_id} in {self.describe()} is {', '.join(others)}: enable it there"
            )

    def _versions(self, key_id: str) -> builtins.list[dict[str, Any]]:
        answer = self._ask("GET", f"{self._path(key_id)}/cryptoKeyVersions?pageSize=1000", known=(404,))
        return builtins.list(answer.get("cryptoKeyVersions", ()))

    def _path(self, key_id: str) -> str:
        return f"{self._ring}/cryptoKeys/{_encoded(checked_key_id(key_id))}"

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, known: tuple[int, ...] = ()
    ) -> dict[str, Any]:
        """Send a request and return the answer; that of a status in `known` has no field but `error`."""
        headers = {"Authorization": f"Bearer {self._token()}", "Content-Type": "application/json"}
        url = f"{self._endpoint}/v1/{path}"
        status, answer = _rest.send(self.describe(), method, url, headers, body, self._timeout)
        if status == 200 or status in known:
            return answer
        if status in (401, 403, 404):
            raise ConfigurationError(
                f"{self.describe()} refuses ({status}): check the key ring's name and the rights"
            )
        raise TransientError(f"{self.describe()} does not answer as it should: status {status}")

    def _token(self) -> str:
        return _rest.token(self.describe(), self._token_file, _METADATA, self._timeout)


def _context(key_id: str) -> str:
    return b64encode(_DOMAIN + key_id.encode()).decode()


def _encoded(key_id: str) -> str:
    """Spell a key id with the letters of a key's name, which has no full stop."""
    return key_id.replace("_", "__").replace(".", "_d")


def _decoded(name: str) -> str:
    return re.sub(r"_([d_])", lambda m: "." if m[1] == "d" else "_", name)
