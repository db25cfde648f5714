"""Key-encryption keys in a PKCS#11 token: a hardware security module, or SoftHSM.

AES-256 keys made in the token, sensitive and not extractable. What destruction means here: the objects are destroyed in
the token. Copies that the module's own tools made before (a clone of an HSM, a backup of SoftHSM's token directory)
still hold them: docs/keys.md says how such a copy is restored without bringing a key back.
"""

from __future__ import annotations

import builtins
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pkcs11
from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, ObjectClass
from pkcs11 import exceptions as refusals

from lethe.keys.files import explained
from lethe.keys.providers.interface import checked_key_id, is_key_id
from lethe.schemas.errors import ConfigurationError, IntegrityError, TransientError

_LABEL: Final = "lethe "
_VERSION: Final = b"\x01"
_DOMAIN: Final = b"lethe/wrapped/v1\0"
_ID_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_TAG_BITS: Final = 128
_KEY_BITS: Final = 256
_TEMPLATE: Final = {
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.MODIFIABLE: False,
    Attribute.COPYABLE: False,
    Attribute.WRAP: False,
    Attribute.UNWRAP: False,
    Attribute.DERIVE: False,
    Attribute.SIGN: False,
    Attribute.VERIFY: False,
}
_ONE_AT_A_TIME: Final = threading.RLock()
"""The library is loaded without locks of its own (C_Initialize without arguments): of all threads, one is inside."""
_NEEDS_A_PERSON: Final = (
    refusals.PinIncorrect,
    refusals.PinLocked,
    refusals.PinInvalid,
    refusals.PinExpired,
    refusals.NoSuchToken,
    refusals.MultipleTokensReturned,
    refusals.TokenWriteProtected,
    refusals.TokenNotRecognised,
    refusals.MechanismInvalid,
    refusals.UserPinNotInitialized,
)


class Pkcs11Provider:
    """A `KeyProvider` over the token of that label, through the module's library.

    PKCS#11 does not keep labels unique: callers who race to make a key may make two. Both stay, a wrapped key names
    the one that wrapped it (`0x01 ‖ CKA_ID ‖ nonce ‖ ciphertext ‖ tag`), and all of a label are destroyed together.
    """

    def __init__(self, module: Path, token: str, pin_file: Path, clock: Callable[[], datetime]) -> None:
        self._module, self._token, self._pin_file, self._clock = module, token, pin_file, clock
        self._session: Any = None
        self._process = 0

    def create(self, key_id: str) -> None:
        """Make a key that cannot leave the token, or leave the one that is there."""
        label = self._label(key_id)
        with self._open() as session:
            if not self._keys(session, key_id):
                session.generate_key(
                    KeyType.AES,
                    _KEY_BITS,
                    id=os.urandom(_ID_BYTES),
                    label=label,
                    store=True,
                    template=_TEMPLATE,
                )
            self._first(session, key_id)

    def wrap(self, key_id: str, plaintext: bytes) -> bytes:
        """Encrypt a data key, with the key id as associated data."""
        with self._open() as session:
            key = self._first(session, key_id)
            nonce = os.urandom(_NONCE_BYTES)
            sealed = bytes(
                key.encrypt(plaintext, mechanism=Mechanism.AES_GCM, mechanism_param=_gcm(nonce, key_id))
            )
            return _VERSION + bytes(key.id) + nonce + sealed

    def unwrap(self, key_id: str, wrapped: bytes) -> bytes:
        """Decrypt a data key; `IntegrityError` when it was not wrapped under this key and key id."""
        name, rest = wrapped[1 : 1 + _ID_BYTES], wrapped[1 + _ID_BYTES :]
        nonce, sealed = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
        with self._open() as session:
            self._first(session, key_id)
            key = next((k for k in self._keys(session, key_id) if bytes(k.id) == name), None)
            if key is not None and wrapped[:1] == _VERSION and len(sealed) > _TAG_BITS // 8:
                parameters = _gcm(nonce, key_id)
                try:
                    return bytes(key.decrypt(sealed, mechanism=Mechanism.AES_GCM, mechanism_param=parameters))
                except refusals.PKCS11Error as error:
                    # Modules tell a wrong tag in different ways (SoftHSM: general error). If the key does its
                    # work otherwise, it is what was wrapped that is wrong; if not, the module is.
                    if not _works(key, key_id):
                        raise TransientError(
                            f"{self.describe()} does not decrypt: {type(error).__name__}"
                        ) from None
        raise IntegrityError(
            f"the wrapped key {key_id} does not open with the key in {self.describe()}: it was changed, or this is "
            "the token of another warehouse"
        )

    def destroy(self, key_id: str) -> None:
        """Destroy every key of that id for ever. Run again after a crash, it does what is left."""
        with self._open() as session:
            for key in self._keys(session, key_id):
                with suppress(refusals.ObjectHandleInvalid):  # another process was faster
                    key.destroy()

    def destroyed_for_good_at(self, key_id: str) -> datetime | None:
        """Return the present instant once the token has no key of that id, None before."""
        with self._open() as session:
            return None if self._keys(session, key_id) else self._clock()

    def list(self) -> builtins.list[str]:
        """List the ids of the keys that are there, sorted."""
        with self._open() as session:
            found = session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY})
            labels = {str(key.label) for key in found}
        ids = {label.removeprefix(_LABEL) for label in labels if label.startswith(_LABEL)}
        return sorted(key_id for key_id in ids if is_key_id(key_id))

    def describe(self) -> str:
        """Say what this is and where."""
        return f"PKCS#11 token {self._token} of {self._module}"

    def _first(self, session: Any, key_id: str) -> Any:
        keys = self._keys(session, key_id)
        if not keys:
            raise ConfigurationError(
                f"the key {key_id} is not in {self.describe()}: check that this is the token of this warehouse, or "
                "restore it"
            )
        for key in keys:
            if key[Attribute.EXTRACTABLE] or not key[Attribute.SENSITIVE]:
                raise ConfigurationError(
                    f"the key {key_id} in {self.describe()} can leave the token, so that destroying it would not be "
                    "final: destroy it if nothing was sealed under it, or move its month with lethe keys migrate"
                )
            if not (
                key[Attribute.LOCAL] and key[Attribute.NEVER_EXTRACTABLE] and key[Attribute.ALWAYS_SENSITIVE]
            ):
                raise ConfigurationError(
                    f"the key {key_id} in {self.describe()} was not made in the token, or could leave it once: whoever "
                    "has its value can bring it back, so that destroying it would not be final; destroy it if nothing "
                    "was sealed under it, or move its month with lethe keys migrate"
                )
        return keys[0]

    def _keys(self, session: Any, key_id: str) -> builtins.list[Any]:
        wanted = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: self._label(key_id)}
        return sorted(session.get_objects(wanted), key=lambda key: bytes(key.id))

    def _label(self, key_id: str) -> str:
        return _LABEL + checked_key_id(key_id)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """Give the session, logged in; after an error of the module the next caller gets a new one."""
        with _ONE_AT_A_TIME:
            try:
                yield self._logged_in()
            except refusals.PKCS11Error as error:
                self._drop()
                kind = ConfigurationError if isinstance(error, _NEEDS_A_PERSON) else TransientError
                raise kind(f"{self.describe()} refuses: {type(error).__name__}") from None

    def _logged_in(self) -> Any:
        if self._session is None or self._process != os.getpid():
            self._session = self._log_in()
            self._process = os.getpid()
        return self._session

    def _log_in(self) -> Any:
        with explained(f"cannot read the PIN file {self._pin_file}"):
            pin = self._pin_file.read_text("utf-8").strip()
        try:
            library = pkcs11.lib(str(self._module))
        except RuntimeError as error:  # not there, not a module, or it refuses its own configuration
            raise ConfigurationError(
                f"the PKCS#11 module {self._module} cannot be used: {type(error).__name__}"
            ) from None
        if self._process not in (0, os.getpid()):
            library.reinitialize()  # a child process has no session of its parent's
        token = library.get_token(token_label=self._token)
        try:
            return token.open(rw=True, user_pin=pin)
        except refusals.UserAlreadyLoggedIn:
            return token.open(rw=True)  # a log-in counts for the whole process

    def _drop(self) -> None:
        session, self._session = self._session, None
        with suppress(refusals.PKCS11Error, AttributeError):
            session.close()


def _gcm(nonce: bytes, key_id: str) -> GCMParams:
    return GCMParams(nonce, _DOMAIN + key_id.encode(), _TAG_BITS)


def _works(key: Any, key_id: str) -> bool:
    probe, parameters = bytes(_ID_BYTES), _gcm(os.urandom(_NONCE_BYTES), key_id)
    try:
        sealed = key.encrypt(probe, mechanism=Mechanism.AES_GCM, mechanism_param=parameters)
        return bytes(key.decrypt(sealed, mechanism=Mechanism.AES_GCM, mechanism_param=parameters)) == probe
    except refusals.PKCS11Error:
        return False
