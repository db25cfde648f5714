"""Passwords: how they are kept, and which ones nobody may choose.

A new one is refused when it is one of the common passwords that come with `zxcvbn` (30,000 of breaches), made of them
or of common words, names, dates or rows of keys, or when it is in the file of breached passwords that the site keeps
(`serve.breached_passwords`). Nothing outside is asked.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from hashlib import sha1
from pathlib import Path
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from lethe.schemas.errors import ConfigurationError, LetheError

SHORTEST: Final = 12
LONGEST: Final = 200
_LEAST_CHARACTERS: Final = 6
_CONTEXT: Final = ("lethe", "password", "investigator", "123456", "qwerty")
_LEAST_SCORE: Final = 3
"""Of zxcvbn, 0 to 4: ten to the eighth guesses or more."""
_JUDGED: Final = 72
"""Characters of a password that are judged; judging takes time by their square."""
_hasher: Final = PasswordHasher()
_NOBODY: Final = _hasher.hash(uuid.uuid4().hex)


def hash_password(password: str) -> str:
    """Hash a password as it is kept (argon2id); raises `LetheError` for one of a length that is not taken."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise LetheError(f"a password has {SHORTEST} to {LONGEST} characters")
    return _hasher.hash(password)


def is_password(hashed: str | None, password: str) -> bool:
    """Compare with argon2; for nobody too, so that the time taken tells nothing."""
    try:
        _hasher.verify(hashed or _NOBODY, password[: LONGEST + 1])
    except (VerificationError, InvalidHashError):
        return False
    return hashed is not None and len(password) <= LONGEST


def check_chosen(password: str, name: str, breached: Path | None = None) -> None:
    """Raise `LetheError` for a password that somebody called `name` may not choose: one that is easily guessed."""
    plain = password.casefold()
    if len(set(plain)) < _LEAST_CHARACTERS or any(word in plain for word in (name, *_CONTEXT)):
        raise LetheError(
            "choose another password: not your name, nothing of this service, no few characters repeated"
        )
    if _score(password, (name,)) < _LEAST_SCORE:
        raise LetheError(
            "choose another password: this is a common one, or made of common words, dates or rows of keys"
        )
    if breached is not None and _is_listed(breached, password):
        raise LetheError("choose another password: this one is among those that were stolen elsewhere")


def _score(password: str, inputs: Iterable[str]) -> int:
    from zxcvbn import zxcvbn  # here: it reads its lists, and few requests need it

    return int(zxcvbn(password[:_JUDGED], user_inputs=list(inputs), max_length=_JUDGED)["score"])


def _is_listed(path: Path, password: str) -> bool:
    """Look in a file of SHA-1 digests in hex, sorted, one a line (what follows a colon counts for nothing).

    By halves, so that a file of 40 GB costs 36 reads. Raises `ConfigurationError` where it cannot be read.
    """
    wanted = sha1(password.encode(), usedforsecurity=False).hexdigest().upper().encode()
    try:
        with path.open("rb") as file:
            low, high = 0, file.seek(0, os.SEEK_END)
            while low < high:
                middle = (low + high) // 2
                file.seek(middle)
                if middle:
                    file.readline()
                line = file.readline()[:40].upper()
                if line and line < wanted:
                    low = middle + 1
                else:
                    high = middle
            file.seek(low)
            if low:
                file.readline()
            return file.readline()[:40].upper() == wanted
    except OSError as error:
        raise ConfigurationError(
            f"serve.breached_passwords cannot be read: {error.strerror}; no password is taken without it"
        ) from None
