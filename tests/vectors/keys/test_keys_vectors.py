"""The primitives give the published answers, and our formats are what they were: data lives twelve months."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lethe.keys.blobs import LocalBlobs
from lethe.keys.keeping.wrapped import destroyed_json, wrapped_json
from lethe.keys.monthkeys import MonthKeys
from lethe.keys.pages import open_page
from lethe.keys.providers.local import LocalProvider
from lethe.keys.ring import KeyRing
from lethe.keys.sealing import open_value, seal_value
from lethe.keys.secret import Secret
from lethe.keys.tokens import (
    KIND_CODES,
    message_token,
    message_tokens,
    reverse_message_tokens,
    reverse_tokens,
    subject_token,
    subject_tokens,
)
from lethe.schemas.retention.calendar import Month

FROZEN: dict[str, Any] = json.loads(Path(__file__).with_name("formats.json").read_text())

# RFC 8452, appendix C.2 (key, nonce, plaintext, associated data, result).
_KEY, _NONCE = "01" + "00" * 31, "03" + "00" * 11
_ONE, _TWO, _THREE, _FOUR = ("0%d" % n + "00" * 15 for n in (1, 2, 3, 4))  # noqa: UP031
GCM_SIV = [
    (_KEY, _NONCE, "", "", "07f5f4169bbf55a8400cd47ea6fd400f"),
    (_KEY, _NONCE, "0100000000000000", "", "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28"),
    (
        _KEY,
        _NONCE,
        "010000000000000000000000",
        "",
        "9aab2aeb3faa0a34aea8e2b18ca50da9ae6559e48fd10f6e5c9ca17e",
    ),
    (_KEY, _NONCE, _ONE, "", "85a01b63025ba19b7fd3ddfc033b3e76c9eac6fa700942702e90862383c6c366"),
    (
        _KEY,
        _NONCE,
        _ONE + _TWO,
        "",
        "4a6a9db4c8c6549201b9edb53006cba821ec9cf850948a7c86c68ac7539d027fe819e63abcd020b006a976397632eb5d",
    ),
    (_KEY, _NONCE, "0200000000000000", "01", "1de22967237a813291213f267e3b452f02d01ae33e4ec854"),
    (_KEY, _NONCE, _TWO, "01", "c91545823cc24f17dbb0e9e807d5ec17b292d28ff61189e8e49f3875ef91aff7"),
    (
        _KEY,
        _NONCE,
        _TWO + _THREE + _FOUR,
        "01",
        "c67a1f0f567a5198aa1fcc8e3f21314336f7f51ca8b1af61feac35a86416fa47"
        "fbca3b5f749cdf564527f2314f42fe2503332742b228c647173616cfd44c54eb",
    ),
    (_KEY, _NONCE, "02000000", "010000000000000000000000", "22b3f4cd1835e517741dfddccfa07fa4661b74cf"),
    (
        "bae8e37fc83441b16034566b7a806c46bb91c3c5aedb64a6c590bc84d1a5e269",
        "e4b47801afc0577e34699b9e",
        "671fdd",
        "4fbdc66f14",
        "0eaccb93da9bb81333aee0c785b240d319719d",
    ),
    (
        "3c535de192eaed3822a2fbbe2ca9dfc88255e14a661b8aa82cc54236093bbc23",
        "688089e55540db1872504e1c",
        "ced532ce4159b035277d4dfbb7db62968b13cd4eec",
        "734320ccc9d9bbbb19cb81b2af4ecbc3e72834321f7aa0f70b7282b4f33df23f167541",
        "626660c26ea6612fb17ad91e8e767639edd6c9faee9d6c7029675b89eaf4ba1ded1a286594",
    ),
    # Appendix C.3: the counter wraps around.
    (
        "00" * 32,
        "00" * 12,
        "000000000000000000000000000000004db923dc793ee6497c76dcc03a98e108",
        "",
        "f3f80f2cf0cb2dd9c5984fcda908456cc537703b5ba70324a6793a7bf218d3eaffffffff000000000000000000000000",
    ),
    (
        "00" * 32,
        "00" * 12,
        "eb3640277c7ffd1303c7a542d02d3e4c0000000000000000",
        "",
        "18ce4f0b8cb4d0cac65fea8f79257b20888e53e72299e56dffffffff000000000000000000000000",
    ),
]


@pytest.mark.parametrize(("key", "nonce", "plaintext", "data", "result"), GCM_SIV)
def test_aes_gcm_siv_gives_the_answers_of_rfc_8452(
    key: str, nonce: str, plaintext: str, data: str, result: str
) -> None:
    cipher = AESGCMSIV(bytes.fromhex(key))
    parts = bytes.fromhex(nonce), bytes.fromhex(plaintext), bytes.fromhex(data)
    assert cipher.encrypt(*parts).hex() == result
    assert cipher.decrypt(parts[0], bytes.fromhex(result), parts[2]) == parts[1]


def test_aes_256_gives_the_answer_of_fips_197() -> None:
    encryptor = Cipher(AES256(bytes(range(32))), ECB()).encryptor()  # FIPS 197, appendix C.3
    block = bytes.fromhex("00112233445566778899aabbccddeeff")
    assert encryptor.update(block).hex() == "8ea2b7ca516745bfeafc49904b496089"


def test_aes_gcm_gives_the_answer_of_its_specification() -> None:
    sealed = AESGCM(bytes(32)).encrypt(bytes(12), bytes(16), None)  # McGrew and Viega, test case 14
    assert sealed.hex() == "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"


@pytest.mark.parametrize(
    ("secret", "salt", "info", "result"),
    [
        (  # RFC 5869, A.1
            "0b" * 22,
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (  # RFC 5869, A.3: no salt, as the month keys are derived
            "0b" * 22,
            "",
            "",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
)
def test_hkdf_gives_the_answers_of_rfc_5869(secret: str, salt: str, info: str, result: str) -> None:
    hkdf = HKDF(SHA256(), 42, bytes.fromhex(salt) or None, bytes.fromhex(info))
    assert hkdf.derive(bytes.fromhex(secret)).hex() == result


@pytest.fixture(scope="module")
def keys() -> MonthKeys:
    return MonthKeys("2025-01.w12", Secret(bytes.fromhex(FROZEN["secret"])))


@pytest.mark.parametrize("name", ["token", "message", "sealing", "salt"])
def test_the_month_keys_are_derived_as_ever(keys: MonthKeys, name: str) -> None:
    assert getattr(keys, f"{name}_key").reveal().hex() == FROZEN["derived"][name]


def test_the_codes_of_kinds_are_as_ever() -> None:
    assert dict(KIND_CODES) == {"msisdn": 1, "email": 2, "ip": 3, "sip": 4, "chat": 5, "opaque": 6}


@pytest.mark.parametrize(("kind", "value", "token", "hashed"), FROZEN["subjects"])
def test_subject_tokens_are_as_ever(keys: MonthKeys, kind: str, value: str, token: str, hashed: bool) -> None:
    assert subject_token(keys, kind, value).hex() == token
    assert subject_tokens(keys, pl.Series([kind]), pl.Series([value]))[0].as_py().hex() == token
    assert reverse_tokens(keys, [bytes.fromhex(token)]) == [None if hashed else (kind, value)]


@pytest.mark.parametrize(("message_id", "token", "hashed"), FROZEN["messages"])
def test_message_tokens_are_as_ever(keys: MonthKeys, message_id: str, token: str, hashed: bool) -> None:
    assert message_token(keys, message_id).hex() == token
    assert message_tokens(keys, pl.Series([message_id]))[0].as_py().hex() == token
    assert reverse_message_tokens(keys, [bytes.fromhex(token)]) == [None if hashed else message_id]


@pytest.mark.parametrize(("table", "column", "position", "value", "sealed"), FROZEN["sealed"])
def test_sealed_values_are_as_ever(
    keys: MonthKeys, table: str, column: str, position: str, value: str, sealed: str
) -> None:
    assert seal_value(keys, table, column, position, value.encode()).hex() == sealed
    assert open_value(keys, table, column, position, bytes.fromhex(sealed)) == value.encode()


def test_a_page_of_the_first_version_still_opens(keys: MonthKeys) -> None:
    page = FROZEN["page"]
    place = page["table"], page["stream"], page["partition"], page["first"], page["last"]
    entries = open_page(keys, *place, bytes.fromhex(page["sealed"])).to_pylist()
    found = [[e["offset"], e["index"], e["form"], e["value"].hex()] for e in entries]
    assert found == page["entries"]


def test_what_is_kept_of_a_month_is_written_as_ever() -> None:
    frozen = FROZEN["wrapped"]
    created, destroyed = datetime(2025, 1, 5, 12, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    wrapped = wrapped_json(frozen["key_id"], created, bytes.fromhex(frozen["wrapped"]))
    assert wrapped.decode() == frozen["object"]
    assert destroyed_json(frozen["key_id"], created, destroyed).decode() == frozen["mark"]


def test_a_key_directory_and_a_wrapped_secret_of_the_first_version_still_open(
    tmp_path: Path, keys: MonthKeys
) -> None:
    frozen = FROZEN["wrapped"]
    provider = LocalProvider.initialise(tmp_path / "keys")
    descriptor = os.open(tmp_path / "keys" / "2025-01.w12.key", os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(descriptor, bytes.fromhex(frozen["kek"]))
    os.close(descriptor)
    blobs = LocalBlobs(tmp_path / "warehouse")
    assert blobs.create("_keys/2025-01.w12.json", frozen["object"].encode())
    opened = KeyRing(provider, blobs, lambda: datetime(2025, 6, 1, tzinfo=UTC)).keys_for(Month(2025, 1))
    assert opened.token_key == keys.token_key
    assert opened.sealing_key == keys.sealing_key
