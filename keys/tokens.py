"""Pseudonymous tokens: one AES block per subject or message id, deterministic within a month.

A subject's block is `kind byte ‖ 15 bytes`:

    plain     code         value in UTF-8 (1 to 15 bytes, no NUL), padded with NUL
    hashed    code | 0x80  first 15 bytes of SHA-256(domain ‖ code ‖ value), for every other value

The top bit keeps the two apart, and a plain value has no NUL, so its padding ends it: no two subjects share
a block unless their truncated hashes collide (2^60 work). A message id's block is the 16 bytes of a
canonical lower-case UUID of version 1 to 8 (RFC 9562), or, for every other text, SHA-256(domain ‖ id) cut to
16 bytes with the version nibble set to 15, which no such UUID has.

The token is that block under AES-256 with a key that encrypts nothing else. This is "ECB" only by name: each
block stands alone and is the whole message, so the cipher is used as what it is, a pseudorandom permutation.
Equal blocks give equal tokens, which is the purpose; that leak, who occurs how often within one month, is the
one a look-up index has to have. A hash inside a block is never stored outside the cipher.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB

from lethe.keys.monthkeys import MonthKeys
from lethe.keys.secret import Secret
from lethe.schemas.compiled import native
from lethe.schemas.compute import pc
from lethe.schemas.errors import IntegrityError
from lethe.schemas.flat import bytes_of, ends_of, large

if TYPE_CHECKING:  # only columns need it: a look-up makes its few tokens one by one, and starts without it
    import polars as pl

KIND_CODES = {"msisdn": 1, "email": 2, "ip": 3, "sip": 4, "chat": 5, "opaque": 6}
"""The code byte of each kind of subject. Part of the format: never change one, only add (at most 127)."""

TOKEN_BYTES = 16

_KIND_OF = {code: kind for kind, code in KIND_CODES.items()}
_HASHED = 0x80
_ROOM = TOKEN_BYTES - 1
_SUBJECT_DOMAIN = b"lethe/subject-token/v1\0"
_MESSAGE_DOMAIN = b"lethe/message-token/v1\0"

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
_UUID_SCALAR = re.compile(_UUID)
_UUID_CHARS = 36
_UUID_DASHES = [8, 13, 18, 23]
_UUID_VERSION = 14
_UUID_HOLDER = "00000000-0000-1000-8000-000000000000"  # stands in for ids whose block is written afterwards
_VERSION_BYTE = 6
_NO_VERSION = 0xF0

_code: Final = native()


def subject_token(keys: MonthKeys, kind: str, value: str) -> bytes:
    """Return the token of one subject, 16 bytes. `ValueError` for an unknown kind or text that is not Unicode."""
    return tokens_each(keys, [(kind, value)])[0]


def tokens_each(keys: MonthKeys, subjects: Sequence[tuple[str, str]]) -> list[bytes]:
    """Return the tokens of some subjects (kind, value), with one cipher for all of them. Raises as `subject_token`."""
    return tokens_from(keys, blocks_of(subjects))


def blocks_of(subjects: Sequence[tuple[str, str]]) -> bytes:
    """Return the blocks of some subjects (kind, value), 16 bytes each: of them each month's tokens are made.

    Not encrypted: they are never kept. Raises as `subject_token`.
    """
    blocks = bytearray()
    for kind, value in subjects:
        code = KIND_CODES.get(kind)
        if code is None:
            raise ValueError(_UNKNOWN_KIND)
        blocks += _subject_block(code, _utf8(value))
    return bytes(blocks)


def tokens_from(keys: MonthKeys, blocks: bytes) -> list[bytes]:
    """Return the tokens of a month for blocks that `blocks_of` made, with one cipher for all of them."""
    tokens = bytes(_encrypt(keys.token_key, blocks)) if blocks else b""
    return [tokens[at : at + TOKEN_BYTES] for at in range(0, len(tokens), TOKEN_BYTES)]


def subject_tokens(keys: MonthKeys, kinds: pl.Series, values: pl.Series) -> pa.FixedSizeBinaryArray:
    """Return the tokens of a column of subjects, `binary(16)`, null where the value is null.

    `kinds` holds names (String, Enum or Categorical) or codes (any integer type), `values` text.
    `ValueError` for an unknown kind or columns of different length, `TypeError` for other types.
    """
    import polars as pl

    if len(kinds) != len(values):
        raise ValueError("there must be one kind for each value")
    text, codes = _text(values), _kind_codes(kinds)
    if (codes == 0).any() and (pl.Series(codes == 0) & text.is_not_null()).any():
        raise ValueError(_UNKNOWN_KIND)
    if not len(text):
        return pa.array([], pa.binary(TOKEN_BYTES))
    plain = large(text)
    blocks, hashed = _subject_blocks(text, plain, codes) if _code is None else _blocks(plain, codes)
    _put(blocks, hashed, lambda row: _subject_block(int(codes[row]), text[row].encode()))
    return _column(keys.token_key, blocks, values)


def _subject_blocks(
    text: pl.Series, plain: pa.LargeStringArray, codes: npt.NDArray[np.uint8]
) -> tuple[bytearray, npt.NDArray[np.bool_]]:
    """Return what `_blocks` does, without compiled code."""
    import polars as pl

    hashed = _are_hashed(plain)
    blocks = np.empty((len(text), TOKEN_BYTES), np.uint8)
    blocks[:, 0] = codes
    blocks[:, 1:] = _padded(large(text.set(pl.Series(hashed), "")) if hashed.any() else plain)
    return bytearray(blocks.data), hashed


def _blocks(
    texts: pa.LargeStringArray, codes: npt.NDArray[np.uint8] | None = None
) -> tuple[bytearray, npt.NDArray[np.bool_]]:
    """Return the blocks of a column, 16 bytes each: of subjects if there are codes of their kinds, else of message
    ids. And
    for which of them, not null, a hash has to be put in the place of zeros."""
    made, plain = _code.blocks(bytes_of(texts), ends_of(texts), codes)
    hashed = np.frombuffer(plain, np.uint8) == 0
    if texts.null_count:
        hashed &= texts.is_valid().to_numpy(zero_copy_only=False)
    return bytearray(made), hashed


def _put(blocks: bytearray, hashed: npt.NDArray[np.bool_], block: Callable[[int], bytes]) -> None:
    """Put blocks with hashes in their places."""
    for row in np.flatnonzero(hashed).tolist():
        blocks[TOKEN_BYTES * row : TOKEN_BYTES * (row + 1)] = block(row)


def needs_sealing(values: pl.Series) -> pl.Series:
    """Return true where a subject's value does not fit its token, so that it must be sealed to be given back.

    Boolean, without nulls: a null value needs nothing.
    """
    import polars as pl

    return pl.Series(values.name, _are_hashed(large(_text(values))))


def reverse_tokens(
    keys: MonthKeys, tokens: pa.Array | pa.ChunkedArray | Sequence[bytes | None]
) -> list[tuple[str, str] | None]:
    """Return the (kind, value) of each subject token; None for a null and for one made of a hashed value.

    `IntegrityError` for a token that these keys never made (as far as its block shows it: a hashed block of
    foreign keys passes for a hashed value with a probability of 6 in 256).
    """
    blocks = _decrypted(keys.token_key, tokens)
    return [None if block is None else _subject_of(keys, block) for block in blocks]


def reverse_numbers(keys: MonthKeys, tokens: pa.FixedSizeBinaryArray) -> npt.NDArray[np.uint64]:
    """Return the phone number of each subject token as an integer, a whole column at once; 0 for any other subject.

    No token may be null. A token that these keys never made gives 0 or a number nobody has, never an error.
    """
    if not len(tokens):
        return np.zeros(0, np.uint64)
    start = TOKEN_BYTES * tokens.offset
    flat = np.frombuffer(tokens.buffers()[1], np.uint8, TOKEN_BYTES * len(tokens), start).data
    plain = bytearray(len(flat) + TOKEN_BYTES - 1)  # room that `update_into` asks for
    Cipher(AES256(keys.token_key.reveal()), ECB()).decryptor().update_into(flat, plain)  # noqa: S305 - single blocks
    numbers = np.empty(len(tokens), np.uint64)
    words = np.frombuffer(plain, "<u8", 2 * len(tokens)).reshape(-1, 2)
    for at in range(0, len(tokens), _IN_CACHE):
        numbers[at : at + _IN_CACHE] = _usual_numbers(words[at : at + _IN_CACHE])
    return numbers


_IN_CACHE: Final = 1 << 14
_PLACES: Final = np.array([10**n for n in range(16)], np.uint64)


_ZEROS: Final = np.uint64(0x3030303030303030)
_KIND_AND_ZEROS: Final = np.uint64(0x3030303030303000 + KIND_CODES["msisdn"])
_TOPS: Final = np.uint64(0x8080808080808080)


def _usual_numbers(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Do what `_numbers` does, in half the time where every number has seven digits or more."""
    first, last = words[:, 0] - _KIND_AND_ZEROS, words[:, 1]  # a zero stands in the place of the kind
    filled = np.bitwise_count(((last & ~_TOPS) + ~_TOPS) & _TOPS)
    # Digits are moved to the end of the word; a NUL before one of them leaves what is none.
    empty = ((8 - filled) << 3).astype(np.uint64)
    ended = last << empty
    ended -= _ZEROS << empty
    wrong = first + (_PAST | np.uint64(0x7F))  # of the kind nothing but zero is right
    wrong |= first
    wrong |= ended + _PAST
    wrong |= ended
    wrong |= last
    wrong &= _TOPS
    value = _value(first)
    value *= _PLACES[filled]
    value += _value(ended)
    if wrong.any():
        others = wrong != 0
        value[others] = _numbers(words[others])
    return value


_PAST: Final = np.uint64(0x7676767676767676)
"""What no digit (0 to 9) comes to the top bit of its byte with, and all other numbers below 128 do."""


def _value(digits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Read eight digits of a word, the first one in the lowest byte. What is given is written over."""
    digits *= np.uint64(2561)
    digits >>= np.uint64(8)
    digits &= np.uint64(0x00FF00FF00FF00FF)
    digits *= np.uint64(6553601)
    digits >>= np.uint64(16)
    digits &= np.uint64(0x0000FFFF0000FFFF)
    digits *= np.uint64(42949672960001)
    digits >>= np.uint64(32)
    return digits


def _numbers(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Read the digits of blocks, two words each, eight digits at a time; 0 for what is no number.

    Digits of a word are added up in pairs, fours and eights, after Lemire, "Quickly parsing eight digits" (2018).
    """
    kind, last = words[:, 0] & np.uint64(0xFF), words[:, 1]
    first = (words[:, 0] & ~np.uint64(0xFF)) | np.uint64(0x30)  # a zero in the place of the kind
    good = kind == KIND_CODES["msisdn"]
    value, empty = np.zeros(len(words), np.uint64), np.zeros(len(words), np.uint64)
    for word in (first, last):
        low = np.uint64(0x7F7F7F7F7F7F7F7F)
        nul = ~(((word & low) + low) | word) & ~low  # the top bit of each byte that is NUL
        empty += np.bitwise_count(nul)
        digits = word | (nul >> np.uint64(2)) | (nul >> np.uint64(3))
        past = digits + np.uint64(0x0606060606060606)
        top = np.uint64(0xF0F0F0F0F0F0F0F0)
        good &= ((digits & top) == 0x3030303030303030) & ((past & top) == 0x3030303030303030)
        digits &= np.uint64(0x0F0F0F0F0F0F0F0F)
        digits = digits * np.uint64(2561) >> np.uint64(8) & np.uint64(0x00FF00FF00FF00FF)
        digits = digits * np.uint64(6553601) >> np.uint64(16) & np.uint64(0x0000FFFF0000FFFF)
        value = value * np.uint64(10**8) + (digits * np.uint64(42949672960001) >> np.uint64(32))
    empty = np.minimum(empty, np.uint64(_ROOM))
    value //= _PLACES[empty]
    return np.where(good, value, np.uint64(0))


def message_token(keys: MonthKeys, message_id: str) -> bytes:
    """Return the token of one message id, 16 bytes. `ValueError` for text that is not Unicode."""
    is_uuid = _UUID_SCALAR.fullmatch(message_id)
    block = UUID(message_id).bytes if is_uuid else _message_block(_utf8(message_id))
    return bytes(_encrypt(keys.message_key, block))


def uuids(ids: pl.Series) -> pl.Series:
    """Return which message ids (text) are UUIDs in lower case: the token alone gives those back. Null counts as one."""
    import polars as pl

    text = _text(ids)
    if _code is not None:
        return pl.Series(~_blocks(large(text))[1])
    if _all_uuids(text):
        return pl.Series([True]).new_from_index(0, len(text))
    return text.str.contains(f"^{_UUID}$").fill_null(True)


def _all_uuids(text: pl.Series) -> bool:
    """Tell whether all are UUIDs, as mostly: told from all their bytes at once, at a fifth of what a pattern costs."""
    if (
        not len(text)
        or text.null_count()
        or not (np.diff(ends_of(array := large(text))) == _UUID_CHARS).all()
    ):
        return False
    flat = bytes_of(array)
    # What is below wraps round, beyond everything.
    digit = (flat - np.uint8(ord("0")) <= 9) | (flat - np.uint8(ord("a")) <= 5)
    rows = flat.reshape(-1, _UUID_CHARS)
    dashes, version = rows[:, _UUID_DASHES] == ord("-"), rows[:, _UUID_VERSION] - np.uint8(ord("1"))
    return bool(dashes.all() and digit.sum() == 32 * len(rows) and (version <= 7).all())


def message_tokens(keys: MonthKeys, ids: pl.Series) -> pa.FixedSizeBinaryArray:
    """Return the tokens of a column of message ids (text), `binary(16)`, null where the id is null.

    Case counts: message ids are opaque, an upper-case UUID is another id than its lower-case spelling.
    """
    if not len(ids):
        return pa.array([], pa.binary(TOKEN_BYTES))
    text = _text(ids)
    blocks, hashed = _message_blocks(text) if _code is None else _blocks(large(text))
    _put(blocks, hashed, lambda row: _message_block(text[row].encode()))
    return _column(keys.message_key, blocks, ids)


def _message_blocks(text: pl.Series) -> tuple[bytearray, npt.NDArray[np.bool_]]:
    """Return what `_blocks` does, without compiled code."""
    import polars as pl

    shape = uuids(text)
    if text.null_count() or not shape.all():
        shaped = text.zip_with(shape, pl.Series([_UUID_HOLDER])).fill_null(_UUID_HOLDER)
    else:
        shaped = text
    digits = _contiguous(shaped, _UUID_CHARS).translate(None, b"-")
    return bytearray(unhexlify(digits)), ~shape.to_numpy()


def reverse_message_tokens(
    keys: MonthKeys, tokens: pa.Array | pa.ChunkedArray | Sequence[bytes | None]
) -> list[str | None]:
    """Return the UUID of each message token; None for a null and for an id of another shape.

    Raises as `reverse_tokens` does.
    """
    blocks = _decrypted(keys.message_key, tokens)
    return [None if block is None else _message_of(keys, block) for block in blocks]


_UNKNOWN_KIND = "the kind of a subject is one of " + ", ".join(KIND_CODES)


def _subject_block(code: int, value: bytes) -> bytes:
    if 1 <= len(value) <= _ROOM and b"\0" not in value:
        return bytes([code]) + value.ljust(_ROOM, b"\0")
    digest = sha256(_SUBJECT_DOMAIN + bytes([code]) + value).digest()
    return bytes([code | _HASHED]) + digest[:_ROOM]


def _message_block(message_id: bytes) -> bytes:
    block = bytearray(sha256(_MESSAGE_DOMAIN + message_id).digest()[:TOKEN_BYTES])
    block[_VERSION_BYTE] |= _NO_VERSION
    return bytes(block)


def _subject_of(keys: MonthKeys, block: bytes) -> tuple[str, str] | None:
    kind = _KIND_OF.get(block[0] & ~_HASHED)
    if kind is not None and block[0] & _HASHED:
        return None
    value = block[1:].rstrip(b"\0")
    text = value.decode(errors="replace")
    if kind is None or not value or b"\0" in value or text.encode() != value:
        raise IntegrityError(f"a token was not made with the keys {keys.key_id}, or is damaged")
    return kind, text


def _message_of(keys: MonthKeys, block: bytes) -> str | None:
    version = block[_VERSION_BYTE] >> 4
    if version == _NO_VERSION >> 4:
        return None
    if not 1 <= version <= 8:
        raise IntegrityError(f"a message token was not made with the keys {keys.key_id}, or is damaged")
    digits = block.hex()  # four times as fast as `uuid.UUID`
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _are_hashed(text: pa.LargeStringArray) -> npt.NDArray[np.bool_]:
    """Return where a value does not fit its block; nowhere for null."""
    lengths = np.diff(ends_of(text))
    hashed: npt.NDArray[np.bool_] = (lengths < 1) | (lengths > _ROOM)
    # NUL by the column first: it is hardly ever there.
    if (bytes_of(text) == 0).any():
        hashed |= pc.match_substring(text, "\0").fill_null(False).to_numpy(zero_copy_only=False)
    if text.null_count:
        hashed &= text.is_valid().to_numpy(zero_copy_only=False)
    return hashed


def _padded(text: pa.LargeStringArray) -> npt.NDArray[np.uint8]:
    """Return the values of at most `_ROOM` bytes with NULs behind them, one row each; null is empty."""
    padded = pc.ascii_rpad(text.fill_null("") if text.null_count else text, _ROOM, padding="\0")
    return np.frombuffer(padded.buffers()[2], np.uint8, _ROOM * len(text)).reshape(-1, _ROOM)


def _kind_codes(kinds: pl.Series) -> npt.NDArray[np.uint8]:
    """Return the code of each kind, 0 where there is no such kind."""
    import polars as pl

    if kinds.dtype.is_integer():
        codes = kinds.cast(pl.Int64).fill_null(0).to_numpy()
        known: npt.NDArray[np.uint8] = np.where(np.isin(codes, list(_KIND_OF)), codes, 0).astype(np.uint8)
        return known
    coded = _text(kinds).to_arrow().dictionary_encode()
    table = [KIND_CODES.get(name, 0) for name in coded.dictionary.to_pylist()]
    named: npt.NDArray[np.uint8] = np.array([*table, 0], np.uint8)[
        coded.indices.fill_null(len(table)).to_numpy()
    ]
    return named


def _text(values: pl.Series) -> pl.Series:
    import polars as pl

    if values.dtype not in (pl.String, pl.Null, pl.Categorical, pl.Enum):
        raise TypeError(f"tokens are made of a column of text, not of {values.dtype}")
    return values.cast(pl.String)


def _utf8(value: str) -> bytes:
    # The interpreter's own error would carry the whole value, and so would an error raised while handling it.
    data = value.encode(errors="replace")
    if data.decode() != value:
        raise ValueError("a value holds a lone surrogate: it is not Unicode text")
    return data


def _contiguous(values: pl.Series, width: int) -> bytes:
    """Return the bytes of a column without nulls whose values are all `width` bytes long, one after the other."""
    flat = bytes_of(large(values))
    if len(flat) != width * len(values):
        raise AssertionError("the values of a block column are not of one width")
    return flat.tobytes()


def _column(key: Secret, blocks: bytes | bytearray, source: pl.Series) -> pa.FixedSizeBinaryArray:
    encrypted = pa.py_buffer(_encrypt(key, blocks))
    tokens = pa.FixedSizeBinaryArray.from_buffers(pa.binary(TOKEN_BYTES), len(source), [None, encrypted])
    if not source.null_count():
        return tokens
    return pc.if_else(source.is_not_null().to_arrow(), tokens, pa.scalar(None, pa.binary(TOKEN_BYTES)))


def _encrypt(key: Secret, blocks: bytes | bytearray) -> memoryview:
    out = bytearray(len(blocks) + TOKEN_BYTES - 1)  # room that `update_into` asks for
    Cipher(AES256(key.reveal()), ECB()).encryptor().update_into(blocks, out)  # noqa: S305 - single blocks, see above
    return memoryview(out)[: len(blocks)]


def _decrypted(
    key: Secret, tokens: pa.Array | pa.ChunkedArray | Sequence[bytes | None]
) -> Iterator[bytes | None]:
    given: Sequence[bytes | None] = (
        tokens.to_pylist() if isinstance(tokens, pa.Array | pa.ChunkedArray) else tokens
    )
    if any(token is not None and len(token) != TOKEN_BYTES for token in given):
        raise IntegrityError(f"a token is {TOKEN_BYTES} bytes long")
    joined = b"".join(token for token in given if token is not None)
    blocks = Cipher(AES256(key.reveal()), ECB()).decryptor().update(joined)  # noqa: S305 - single blocks, see above
    starts = iter(range(0, len(blocks), TOKEN_BYTES))
    for token in given:
        if token is None:
            yield None
        else:
            start = next(starts)
            yield blocks[start : start + TOKEN_BYTES]
