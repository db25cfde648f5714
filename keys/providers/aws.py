"""Key-encryption keys in AWS KMS whose material is imported: a key that AWS made takes 7 days to die at least.

One KMS key (origin EXTERNAL) per key id, found by its alias. The material is made here, sent encrypted to KMS's
import key, and dropped: nobody can import it again. Rights needed: CreateKey, CreateAlias, GetParametersForImport,
ImportKeyMaterial, DescribeKey, ListAliases, Encrypt, Decrypt, DeleteImportedKeyMaterial, TagResource,
ListResourceTags, ScheduleKeyDeletion, CancelKeyDeletion.

What destruction means here: DeleteImportedKeyMaterial takes effect at once; the empty key is deleted 7 days later.
Where the end of the window is at most 365 days away, which is all that KMS takes, the material also expires by
itself (ValidTo) 30 days after it, should Lethe no longer be there to delete it.
"""

from __future__ import annotations

import builtins
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from lethe.keys.providers.interface import checked_key_id, is_key_id
from lethe.keys.secret import Secret
from lethe.schemas.errors import (
    ConfigurationError,
    ExpiredKeyError,
    IntegrityError,
    LetheError,
    TransientError,
)
from lethe.schemas.retention.calendar import Month, window_end

_TIMEOUT: Final = 5
_MOST_WRAPPED: Final = 6_144
_SHORTEST_WAIT_DAYS: Final = 7
_LONGEST_VALID: Final = timedelta(days=364)
_AFTER_THE_END: Final = timedelta(days=30)
_DELETED_TAG: Final = "lethe-material-deleted"
_MONTH: Final = re.compile(r"([0-9]{4}-[0-9]{2})\.w([0-9]{1,4})(?:\.g[0-9]+)?")
_REFUSED: Final = ("AccessDenied", "UnrecognizedClient", "InvalidClientTokenId", "ExpiredToken", "InvalidSignature",
                   "NotAuthorized", "OptInRequired", "IncompleteSignature", "LimitExceeded")  # fmt: skip


class AwsProvider:
    """A `KeyProvider` over AWS KMS; credentials are found as boto3 finds them."""

    def __init__(
        self,
        region: str,
        clock: Callable[[], datetime],
        prefix: str = "lethe",
        endpoint_url: str | None = None,
        timeout: int = _TIMEOUT,
    ) -> None:
        self._region, self._clock, self._prefix = region, clock, prefix
        config = Config(connect_timeout=timeout, read_timeout=timeout, retries={"total_max_attempts": 1})
        self._kms = boto3.client("kms", region_name=region, endpoint_url=endpoint_url, config=config)

    def create(self, key_id: str) -> None:
        """Make a key with material of our own, unless there is one.

        1. Make a KMS key without material. A crash here leaves an empty key without a name.
        2. Import random material. A crash here leaves a key without a name that wrapped nothing.
        3. Give it its alias: the one step that only one of several racing callers gets through. The others' keys
           are emptied and deleted.
        """
        alias = self._alias(key_id)
        if self._described(alias) is None:
            with self._explained():
                # Step 1
                made = self._kms.create_key(
                    Origin="EXTERNAL", KeySpec="SYMMETRIC_DEFAULT", KeyUsage="ENCRYPT_DECRYPT",
                    Description=f"Lethe {key_id}",
                )["KeyMetadata"]["KeyId"]  # fmt: skip
                # Step 2
                self._import(made, key_id)
                # Step 3
                try:
                    self._kms.create_alias(AliasName=alias, TargetKeyId=made)
                except ClientError as error:
                    if _code(error) != "AlreadyExistsException":
                        raise
                    self._kms.delete_imported_key_material(KeyId=made)
                    self._kms.schedule_key_deletion(KeyId=made, PendingWindowInDays=_SHORTEST_WAIT_DAYS)
        self._usable(key_id)

    def wrap(self, key_id: str, plaintext: bytes) -> bytes:
        """Encrypt a data key, with the key id as encryption context."""
        key = self._usable(key_id)
        with self._explained():
            answer = self._kms.encrypt(KeyId=key, Plaintext=plaintext, EncryptionContext={"lethe": key_id})
        return bytes(answer["CiphertextBlob"])

    def unwrap(self, key_id: str, wrapped: bytes) -> bytes:
        """Decrypt a data key; `IntegrityError` when it was not wrapped under this key and key id."""
        key = self._usable(key_id)
        try:
            if 0 < len(wrapped) <= _MOST_WRAPPED:
                with self._explained():
                    return bytes(
                        self._kms.decrypt(
                            KeyId=key, CiphertextBlob=wrapped, EncryptionContext={"lethe": key_id}
                        )["Plaintext"]
                    )
        except ClientError as error:
            if _code(error) not in ("InvalidCiphertextException", "IncorrectKeyException"):
                raise self._unclear(error) from None
        raise IntegrityError(
            f"the wrapped key {key_id} does not open with the key in {self.describe()}: it was changed, or these are "
            "the keys of another warehouse"
        )

    def destroy(self, key_id: str) -> None:
        """Destroy a key for ever. Run again after a crash, it does what is left.

        1. If somebody else scheduled the key's deletion, take that back: until then its material could come back.
        2. Delete the material: from here on nothing it wrapped can be read.
        3. Note when, on the key.
        4. Have the empty key deleted, after the shortest time that KMS takes.
        """
        alias = self._alias(key_id)
        known = self._described(alias)
        if known is None or self._noted(known) is not None:
            return
        key = known["KeyId"]
        with self._explained():
            # Step 1
            if known["KeyState"] == "PendingDeletion":
                self._kms.cancel_key_deletion(KeyId=key)
            # Step 2
            if known["KeyState"] != "PendingImport":
                self._kms.delete_imported_key_material(KeyId=key)
            # Step 3
            tag = {"TagKey": _DELETED_TAG, "TagValue": self._clock().isoformat()}
            self._kms.tag_resource(KeyId=key, Tags=[tag])
            # Step 4
            self._kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=_SHORTEST_WAIT_DAYS)

    def destroyed_for_good_at(self, key_id: str) -> datetime | None:
        """Return when the material was deleted; the present instant for a key that is not there or has none."""
        known = self._described(self._alias(key_id))
        if known is None:
            return self._clock()
        noted = self._noted(known)
        return self._clock() if noted is None and known["KeyState"] == "PendingImport" else noted

    def list(self) -> builtins.list[str]:
        """List the ids of the keys whose material is there, or may be, sorted."""
        start = f"alias/{self._prefix}/"
        with self._explained():
            pages = self._kms.get_paginator("list_aliases").paginate()
            names = [
                a["AliasName"] for page in pages for a in page["Aliases"] if a["AliasName"].startswith(start)
            ]
        ids = [_decoded(name.removeprefix(start)) for name in names]
        return sorted(k for k in ids if is_key_id(k) and self.destroyed_for_good_at(k) is None)

    def describe(self) -> str:
        """Say what this is and where."""
        return f"AWS KMS in {self._region}, alias/{self._prefix}/"

    def _import(self, key: str, key_id: str) -> None:
        given = self._kms.get_parameters_for_import(
            KeyId=key, WrappingAlgorithm="RSAES_OAEP_SHA_256", WrappingKeySpec="RSA_4096"
        )
        public = load_der_public_key(given["PublicKey"])
        if not isinstance(public, RSAPublicKey):
            raise ConfigurationError(f"{self.describe()} gave an import key that is no RSA key")
        material = Secret(os.urandom(32))
        sealed = public.encrypt(material.reveal(), OAEP(MGF1(SHA256()), SHA256(), None))
        until = self._valid_to(key_id)
        expiry: dict[str, Any] = {"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}
        if until is not None:
            expiry = {"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": until}
        self._kms.import_key_material(
            KeyId=key, ImportToken=given["ImportToken"], EncryptedKeyMaterial=sealed, **expiry
        )

    def _valid_to(self, key_id: str) -> datetime | None:
        """Tell when the material expires by itself; None when that is further away than KMS takes."""
        match = _MONTH.fullmatch(key_id)
        if match is None:
            return None
        until = window_end(Month.parse(match[1]), int(match[2])) + _AFTER_THE_END
        return until if timedelta() < until - self._clock() <= _LONGEST_VALID else None

    def _usable(self, key_id: str) -> str:
        known = self._described(self._alias(key_id))
        if known is None:
            raise ConfigurationError(
                f"the key {key_id} is not in {self.describe()}: check that this is the account, region and prefix of "
                "this warehouse"
            )
        if known["KeyState"] == "PendingDeletion" and self._noted(known) is None:
            raise ExpiredKeyError(
                f"the key {key_id} is to be deleted in {self.describe()}: if that is a mistake, cancel it there "
                "(CancelKeyDeletion, EnableKey)"
            )
        if known["KeyState"] in ("PendingImport", "PendingDeletion"):
            raise ExpiredKeyError(f"the key {key_id} was destroyed; nothing brings it back")
        if known["KeyState"] != "Enabled" or known.get("Origin") != "EXTERNAL":
            raise ConfigurationError(
                f"the key {key_id} in {self.describe()} is {known['KeyState']}, origin {known.get('Origin')}: it must "
                "be Enabled and EXTERNAL, for a key that AWS made cannot be destroyed at once"
            )
        return str(known["KeyId"])

    def _described(self, alias: str) -> dict[str, Any] | None:
        try:
            with self._explained():
                return dict(self._kms.describe_key(KeyId=alias)["KeyMetadata"])
        except ClientError as error:
            if _code(error) == "NotFoundException":
                return None
            raise self._unclear(error) from None

    def _noted(self, known: dict[str, Any]) -> datetime | None:
        if known["KeyState"] not in ("PendingImport", "PendingDeletion"):
            return None
        with self._explained():
            tags = self._kms.list_resource_tags(KeyId=known["KeyId"])["Tags"]
        found = [t["TagValue"] for t in tags if t["TagKey"] == _DELETED_TAG]
        # Before the last step of `destroy` the key is not marked for deletion: it is done again.
        return datetime.fromisoformat(found[0]) if found and known["KeyState"] == "PendingDeletion" else None

    def _alias(self, key_id: str) -> str:
        return f"alias/{self._prefix}/{_encoded(checked_key_id(key_id))}"

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what boto3 raises into ours; answers that the caller may understand pass."""
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError):
            raise ConfigurationError(f"{self.describe()}: no credentials; boto3 looks for them") from None
        except ClientError as error:
            if _code(error) in ("NotFoundException", "InvalidCiphertextException", "IncorrectKeyException"):
                raise
            raise self._unclear(error) from None
        except BotoCoreError as error:
            raise TransientError(f"{self.describe()} does not answer: {type(error).__name__}") from None

    def _unclear(self, error: ClientError) -> LetheError:
        code = _code(error)
        kind = ConfigurationError if code.startswith(_REFUSED) else TransientError
        return kind(f"{self.describe()} refuses: {code}")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _encoded(key_id: str) -> str:
    """Spell a key id with the letters of an alias, which has no full stop."""
    return key_id.replace("_", "__").replace(".", "_d")


def _decoded(name: str) -> str:
    return re.sub(r"_([d_])", lambda m: "." if m[1] == "d" else "_", name)
