"""Key-encryption keys in Azure Key Vault or Managed HSM, over its REST API (version 7.4).

One RSA key per key id. A vault wraps by RSA-OAEP-256 with the key's public half, which is no secret: so what was
wrapped is signed by the same key (PS256) together with the key id, and whoever can write to the warehouse cannot put a
secret of their own in its place. Rights needed: get, list, create, delete, purge, sign, wrapKey, unwrapKey; backup,
restore and recover should be nobody's.

What destruction means here: the key is deleted, stops working at once, can be recovered, and is then purged, which is
final. A vault with purge protection purges it itself at the end of its retention (7 to 90 days); a certificate waits.
A backup of a key that somebody made before brings it back into a vault of the same subscription and region: no
attribute of a key forbids that, the right does.
"""

from __future__ import annotations

import binascii
import builtins
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, utils
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256

from lethe.keys.providers import _rest
from lethe.keys.providers.interface import checked_key_id, is_key_id
from lethe.schemas.errors import ConfigurationError, ExpiredKeyError, IntegrityError, TransientError

_VERSION: Final = "api-version=7.4"
_BITS: Final = 3072
_OPERATIONS: Final = ("wrapKey", "unwrapKey", "sign")
_METADATA: Final = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource="
_DOMAIN: Final = b"lethe/wrapped/v1\0"
_LONGEST_NAME: Final = 127
_LOOKS: Final = 5
_PAUSE: Final = 0.5
_PSS: Final = padding.PSS(padding.MGF1(SHA256()), 32)
_WRAPPED: Final = re.compile(rb"1\.([0-9a-f]{32})\.([A-Za-z0-9_-]{1,1400})\.([A-Za-z0-9_-]{1,1400})")


class AzureProvider:
    """A `KeyProvider` over a vault; without a token file, the machine's managed identity asks."""

    def __init__(
        self,
        url: str,
        clock: Callable[[], datetime],
        token_file: Path | None = None,
        protection: Literal["SOFTWARE", "HSM"] = "HSM",
        prefix: str = "lethe-",
        timeout: float = _rest.TIMEOUT,
    ) -> None:
        self._url, self._clock, self._token_file = url.rstrip("/"), clock, token_file
        self._kind = "RSA-HSM" if protection == "HSM" else "RSA"
        self._prefix, self._timeout = prefix, timeout

    def create(self, key_id: str) -> None:
        """Make a key, or leave the one that is there.

        Racing callers may each make a version of it. What is wrapped names its version, and all of them are one key
        when it is destroyed.
        """
        if self._found(key_id) is None:
            body = {"kty": self._kind, "key_size": _BITS, "key_ops": [*_OPERATIONS]}
            status, _ = self._ask("POST", f"keys/{self._name(key_id)}/create", body, known=(409,))
            if status == 409:  # deleted and not purged yet: or another caller is making it
                self._refuse_deleted(key_id)
        self._usable(key_id)

    def wrap(self, key_id: str, plaintext: bytes) -> bytes:
        """Encrypt a data key and sign it together with the key id: `1.VERSION.CIPHERTEXT.SIGNATURE`."""
        version = str(self._usable(key_id)["kid"]).rpartition("/")[2]
        at = f"keys/{self._name(key_id)}/{version}"
        _, wrapped = self._ask("POST", f"{at}/wrapkey", {"alg": "RSA-OAEP-256", "value": _coded(plaintext)})
        digest = _digest(key_id, _plain(wrapped["value"]))
        _, signed = self._ask("POST", f"{at}/sign", {"alg": "PS256", "value": _coded(digest)})
        return f"1.{version}.{wrapped['value']}.{signed['value']}".encode()

    def unwrap(self, key_id: str, wrapped: bytes) -> bytes:
        """Decrypt a data key; `IntegrityError` when it was not wrapped under this key and key id."""
        self._usable(key_id)
        match = _WRAPPED.fullmatch(wrapped)
        if match is not None:
            version, sealed, signature = (part.decode() for part in match.groups())
            at = f"keys/{self._name(key_id)}/{version}"
            status, found = self._ask("GET", at, known=(404,))
            if status == 200 and _signed(found["key"], _digest(key_id, _plain(sealed)), _plain(signature)):
                body = {"alg": "RSA-OAEP-256", "value": sealed}
                status, opened = self._ask("POST", f"{at}/unwrapkey", body, known=(400,))
                if status == 200:
                    return _plain(opened["value"])
            self._usable(key_id)  # destroyed meanwhile: then that is why
        raise IntegrityError(
            f"the wrapped key {key_id} does not open with the key in {self.describe()}: it was changed, or this is "
            "the vault of another warehouse"
        )

    def destroy(self, key_id: str) -> None:
        """Delete a key and purge it. Run again after a crash, it does what is left.

        1. Delete it. From here on it does not work; a crash leaves it to be recovered by who may, or purged.
        2. Wait until the service has done that, which takes it a moment, and purge it. A vault with purge protection
           does so by itself later. `TransientError` when it takes longer: the next run goes on here.
        """
        status, _ = self._ask("DELETE", f"keys/{self._name(key_id)}", known=(404,))
        for _ in range(_LOOKS):
            level = self._deleted(key_id)
            if level is not None:
                if "Purgeable" in level:
                    self._ask("DELETE", f"deletedkeys/{self._name(key_id)}", known=(404,))
                return
            time.sleep(_PAUSE)
        # Neither there nor deleted: there was none, or the deletion of a process that died since takes longer.
        if status != 404:
            raise TransientError(
                f"{self.describe()} is still deleting the key {key_id}: it is purged by the next try"
            )

    def destroyed_for_good_at(self, key_id: str) -> datetime | None:
        """Return the present instant once the vault has neither the key nor a deleted one, None before."""
        if self._found(key_id) is not None or self._deleted(key_id) is not None:
            return None
        return self._clock()

    def list(self) -> builtins.list[str]:
        """List the ids of the keys that are there, or could be recovered, sorted."""
        names = {*self._names("keys"), *self._names("deletedkeys")}
        ids = {_decoded(name[len(self._prefix) :]) for name in names if name.startswith(self._prefix)}
        return sorted(key_id for key_id in ids if is_key_id(key_id))

    def describe(self) -> str:
        """Say what this is and where."""
        return f"Azure Key Vault, {self._url}"

    def _usable(self, key_id: str) -> dict[str, Any]:
        """Return the newest version of a key; raises what keeps it from being used."""
        found = self._found(key_id)
        if found is None:
            self._refuse_deleted(key_id)
            raise ConfigurationError(
                f"the key {key_id} is not in {self.describe()}: check that this is the vault of this warehouse"
            )
        if found.get("attributes", {}).get("exportable"):
            raise ConfigurationError(
                f"the key {key_id} in {self.describe()} may leave the vault (exportable): its destruction would not be "
                "final; remove it, a new one is made"
            )
        if found.get("attributes", {}).get("enabled") is False:
            raise ConfigurationError(f"the key {key_id} in {self.describe()} is disabled: enable it there")
        return dict(found["key"])

    def _found(self, key_id: str) -> dict[str, Any] | None:
        status, answer = self._ask("GET", f"keys/{self._name(key_id)}", known=(404,))
        return None if status == 404 else answer

    def _deleted(self, key_id: str) -> str | None:
        """Return the recovery level of a key that was deleted and can still be brought back."""
        status, answer = self._ask("GET", f"deletedkeys/{self._name(key_id)}", known=(404,))
        return None if status == 404 else str(answer.get("attributes", {}).get("recoveryLevel", ""))

    def _refuse_deleted(self, key_id: str) -> None:
        if self._deleted(key_id) is not None:
            raise ExpiredKeyError(
                f"the key {key_id} was deleted in {self.describe()}: if that is a mistake, recover it there before it "
                "is purged"
            )

    def _names(self, collection: str) -> Iterator[str]:
        path = f"{collection}?maxresults=25"
        while True:
            _, answer = self._ask("GET", path)
            for key in answer.get("value") or ():
                yield str(key["kid"]).removeprefix(f"{self._url}/keys/").partition("/")[0]
            link = str(answer.get("nextLink") or "")
            if not link:
                return
            if not link.startswith(f"{self._url}/{collection}?"):  # the token goes to the vault alone
                raise ConfigurationError(f"{self.describe()} names another host to go on with its list")
            path = link.removeprefix(f"{self._url}/")

    def _name(self, key_id: str) -> str:
        name = self._prefix + _encoded(checked_key_id(key_id))
        if len(name) > _LONGEST_NAME:
            raise ConfigurationError(f"the key id {key_id} is too long for {self.describe()}")
        return name

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, known: tuple[int, ...] = ()
    ) -> tuple[int, dict[str, Any]]:
        """Send a request; returns the status and the answer, which is empty for a status in `known`."""
        host = (urlsplit(self._url).hostname or "").partition(".")[2]
        metadata = (_METADATA + quote(f"https://{host}", safe=""), {"Metadata": "true"})
        token = _rest.token(self.describe(), self._token_file, metadata, self._timeout)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        url = f"{self._url}/{path}" + ("" if _VERSION in path else f"{'&' if '?' in path else '?'}{_VERSION}")
        status, answer = _rest.send(self.describe(), method, url, headers, body, self._timeout)
        if status < 300 or status in known:
            return status, answer
        if status in (401, 403, 404):
            raise ConfigurationError(
                f"{self.describe()} refuses ({status}): check its URL and the rights (docs/keys.md)"
            )
        raise TransientError(f"{self.describe()} does not answer as it should: status {status}")


def _signed(key: dict[str, Any], digest: bytes, signature: bytes) -> bool:
    """Tell whether a key's version signed a digest."""
    n, e = (int.from_bytes(_plain(key[part]), "big") for part in ("n", "e"))
    try:
        RSAPublicNumbers(e, n).public_key().verify(signature, digest, _PSS, utils.Prehashed(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def _digest(key_id: str, sealed: bytes) -> bytes:
    return sha256(_DOMAIN + key_id.encode() + b"\0" + sealed).digest()


def _coded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _plain(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return b""


def _encoded(key_id: str) -> str:
    """Spell a key id with the letters of a key's name: no full stop, no underscore, and case does not count."""
    return re.sub(
        r"[-._A-Z]", lambda m: {"-": "--", ".": "-d", "_": "-u"}.get(m[0], f"-c{m[0].lower()}"), key_id
    )


def _decoded(name: str) -> str:
    plain = {"-": "-", "d": ".", "u": "_"}
    return re.sub(r"-(c(.)|[-du])", lambda m: m[2].upper() if m[2] else plain[m[1]], name)
