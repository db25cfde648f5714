"""What makes a destroyed key not destroyed is refused: keys that can be exported, and what looks gone and is not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aws_stub
import azure_stub
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.exceptions import AttributeSensitive
from provider_rigs import SOFTHSM, AwsRig, AzureRig, GcpRig, Pkcs11Rig, VaultRig, utc_now

from lethe.keys.providers.aws import AwsProvider
from lethe.keys.providers.pkcs11 import Pkcs11Provider
from lethe.keys.providers.vault import VaultProvider
from lethe.schemas.errors import ConfigurationError, ExpiredKeyError, IntegrityError, TransientError

KEY = "2025-01.w12"
SECRET = bytes(32)


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultRig]:
    rig = VaultRig(tmp_path_factory.mktemp("bao"))
    yield rig
    rig.close()


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pkcs11Rig]:
    rig = Pkcs11Rig(tmp_path_factory.mktemp("hsm"))
    yield rig
    rig.close()


# OpenBao


@pytest.mark.parametrize("trap", ["exportable", "allow_plaintext_backup"])
def test_a_transit_key_that_can_be_copied_is_refused(bao: VaultRig, trap: str) -> None:
    transit, provider, key = bao.client.secrets.transit, bao.provider(), f"{KEY}{trap[0]}"
    provider.create(key)
    wrapped = provider.wrap(key, SECRET)
    transit.update_key_configuration(f"lethe.{key}", **{trap: True})  # somebody allows it later
    for call in (
        lambda: provider.create(key),
        lambda: provider.wrap(key, SECRET),
        lambda: provider.unwrap(key, wrapped),
    ):
        with pytest.raises(ConfigurationError, match="would not be final"):
            call()
    provider.destroy(key)
    assert provider.destroyed_for_good_at(key) is not None


def test_the_trap_is_real_a_backup_in_plain_text_brings_a_deleted_key_back(bao: VaultRig) -> None:
    transit = bao.client.secrets.transit
    transit.create_key("copied", exportable=True, allow_plaintext_backup=True)
    backup = transit.backup_key("copied")["data"]["backup"]
    transit.update_key_configuration("copied", deletion_allowed=True)
    transit.delete_key("copied")
    transit.restore_key(backup=backup, name="copied")
    assert transit.read_key("copied")["data"]["latest_version"] == 1


def test_a_transit_key_deleted_in_a_way_that_can_be_undone_is_not_gone(bao: VaultRig) -> None:
    provider, key = bao.provider(), "2025-02.w12"
    provider.create(key)
    bao.client.adapter.request("delete", f"/v1/transit/keys/lethe.{key}/soft-delete")
    assert key in provider.list()
    assert provider.destroyed_for_good_at(key) is None
    provider.destroy(key)
    assert key not in provider.list()
    assert provider.destroyed_for_good_at(key) is not None


def test_a_transit_key_that_was_imported_is_refused(bao: VaultRig) -> None:
    """The trap is real: imported again, it would open what was wrapped under it before it was deleted."""
    transit, name = bao.client.secrets.transit, "2025-09.w12"
    material, wrapping = os.urandom(32), os.urandom(32)
    public = load_pem_public_key(bao.client.read("transit/wrapping_key")["data"]["public_key"].encode())
    assert isinstance(public, RSAPublicKey)
    sealed = public.encrypt(wrapping, OAEP(MGF1(SHA256()), SHA256(), None))
    sealed += aes_key_wrap_with_padding(wrapping, material)
    body = {"ciphertext": b64encode(sealed).decode(), "type": "aes256-gcm96", "hash_function": "SHA256"}
    bao.client.adapter.post(f"/v1/transit/keys/lethe.{name}/import", json=body)
    assert transit.read_key(f"lethe.{name}")["data"]["imported_key"]
    for call in (lambda: bao.provider().create(name), lambda: bao.provider().wrap(name, SECRET)):
        with pytest.raises(ConfigurationError, match=r"was imported.*would not be final"):
            call()
    bao.provider().destroy(name)
    assert bao.provider().destroyed_for_good_at(name) is not None


def test_wrapping_under_a_lost_key_makes_none(bao: VaultRig) -> None:
    """The engine itself makes a key for any name it is asked to encrypt under."""
    with pytest.raises(ConfigurationError, match="is not in"):
        bao.provider().wrap("2025-03.w12", SECRET)
    assert "2025-03.w12" not in bao.provider().list()


def test_a_token_that_is_not_valid_says_so_and_is_not_shown(bao: VaultRig, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s.not-a-token-of-theirs\n")
    provider = VaultProvider(bao.url, tmp_path / "token", utc_now)
    with pytest.raises(ConfigurationError, match=r"token in .* is valid") as error:
        provider.create(KEY)
    assert "s.not-a-token" not in str(error.value)
    with pytest.raises(ConfigurationError, match="cannot read the token file"):
        VaultProvider(bao.url, tmp_path / "none", utc_now).create(KEY)


def test_a_token_with_the_rights_that_the_guide_lists_is_enough(bao: VaultRig, tmp_path: Path) -> None:
    policy = "\n".join(
        f'path "transit/{path}" {{ capabilities = {capabilities} }}'
        for path, capabilities in {
            "keys": '["list"]',
            "keys/lethe.*": '["create", "read", "update", "delete"]',
            "encrypt/lethe.*": '["update"]',
            "decrypt/lethe.*": '["update"]',
        }.items()
    )
    bao.client.sys.create_or_update_policy("lethe", policy)
    made = bao.client.auth.token.create(policies=["lethe"])
    (tmp_path / "token").write_text(made["auth"]["client_token"])
    provider = VaultProvider(bao.url, tmp_path / "token", utc_now)
    provider.create(KEY)
    assert provider.unwrap(KEY, provider.wrap(KEY, SECRET)) == SECRET
    assert KEY in provider.list()
    provider.destroy(KEY)
    assert provider.destroyed_for_good_at(KEY) is not None


# PKCS#11


def test_a_key_in_the_token_cannot_be_read(hsm: Pkcs11Rig) -> None:
    hsm.provider().create(KEY)
    session = hsm.session()
    (key,) = session.get_objects({Attribute.LABEL: f"lethe {KEY}"})
    assert key[Attribute.NEVER_EXTRACTABLE]
    assert key[Attribute.ALWAYS_SENSITIVE]
    with pytest.raises(AttributeSensitive):
        _ = key[Attribute.VALUE]
    session.close()


@pytest.mark.parametrize("loose", [{Attribute.EXTRACTABLE: True}, {Attribute.SENSITIVE: False}])
def test_a_key_that_can_leave_the_token_is_refused(hsm: Pkcs11Rig, loose: dict[Attribute, bool]) -> None:
    key = f"2025-02.w{len(hsm.provider().list())}"
    session = hsm.session()
    session.generate_key(KeyType.AES, 256, id=b"x" * 16, label=f"lethe {key}", store=True, template=loose)
    provider = hsm.provider()
    for call in (lambda: provider.create(key), lambda: provider.wrap(key, SECRET)):
        with pytest.raises(ConfigurationError, match="would not be final"):
            call()
    provider.destroy(key)
    assert key not in provider.list()
    session.close()


def test_a_key_whose_value_is_known_outside_the_token_is_refused(hsm: Pkcs11Rig) -> None:
    """Put into the token from outside it cannot leave it, and whoever put it in can do so again."""
    key = "2025-08.w12"
    session = hsm.session()
    session.create_object(
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES, Attribute.VALUE: bytes(32),
            Attribute.ID: b"y" * 16, Attribute.LABEL: f"lethe {key}", Attribute.TOKEN: True, Attribute.PRIVATE: True,
            Attribute.EXTRACTABLE: False, Attribute.SENSITIVE: True, Attribute.ENCRYPT: True, Attribute.DECRYPT: True,
        }
    )  # fmt: skip
    provider = hsm.provider()
    for call in (lambda: provider.create(key), lambda: provider.wrap(key, SECRET)):
        with pytest.raises(ConfigurationError, match=r"was not made in the token.*would not be final"):
            call()
    provider.destroy(key)
    assert key not in provider.list()
    session.close()


def test_processes_that_race_for_a_label_can_open_what_each_of_them_wrapped(hsm: Pkcs11Rig) -> None:
    """PKCS#11 keeps no label unique: two keys may come of it."""
    session = hsm.session()
    provider, key = hsm.provider(), "2025-03.w12"
    provider.create(key)
    before = provider.wrap(key, SECRET)
    for number in (0, 255):  # one that sorts before the first key, one behind it
        template = {Attribute.EXTRACTABLE: False, Attribute.SENSITIVE: True}
        name = bytes([number]) * 16
        session.generate_key(KeyType.AES, 256, id=name, label=f"lethe {key}", store=True, template=template)
    after = provider.wrap(key, SECRET)
    assert [hsm.provider().unwrap(key, w) for w in (before, after)] == [SECRET, SECRET]
    provider.destroy(key)
    assert list(session.get_objects({Attribute.LABEL: f"lethe {key}"})) == []
    session.close()


CHILD = """
import sys
from pathlib import Path
from datetime import datetime
from lethe.keys.providers.pkcs11 import Pkcs11Provider
provider = Pkcs11Provider(Path(sys.argv[1]), "lethe", Path(sys.argv[2]), datetime.now)
provider.create(sys.argv[3])
print(provider.wrap(sys.argv[3], bytes(32)).hex())
"""


def test_a_key_made_by_another_process_is_seen_at_once(hsm: Pkcs11Rig) -> None:
    provider, key = hsm.provider(), "2025-04.w12"
    provider.list()
    command = [sys.executable, "-c", CHILD, str(SOFTHSM), str(hsm.pin), key]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=240).stdout
    assert provider.unwrap(key, bytes.fromhex(said)) == SECRET
    provider.destroy(key)


def test_a_wrong_pin_or_token_or_module_says_which(hsm: Pkcs11Rig, tmp_path: Path) -> None:
    def now() -> datetime:
        return datetime.now(UTC)

    with pytest.raises(ConfigurationError, match="NoSuchToken"):
        Pkcs11Provider(SOFTHSM, "another", hsm.pin, now).list()
    with pytest.raises(ConfigurationError, match="cannot read the PIN file"):
        Pkcs11Provider(SOFTHSM, "lethe", tmp_path / "none", now).list()
    (tmp_path / "module.so").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        Pkcs11Provider(tmp_path / "module.so", "lethe", hsm.pin, now).list()


# AWS KMS


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsRig]:
    rig = AwsRig(tmp_path_factory.mktemp("aws"))
    yield rig
    rig.close()


def kms_key(aws: AwsRig, alias: str) -> dict[str, Any]:
    return aws.stub.key(f"alias/lethe/{alias}")


@pytest.mark.parametrize(
    ("now", "expires"),
    [
        (datetime(2025, 1, 31, tzinfo=UTC), None),  # the window of January ends in 366 days and 30 are added
        (datetime(2025, 3, 4, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC)),
    ],
)
def test_imported_material_expires_by_itself_after_the_window_where_kms_takes_that(
    aws: AwsRig, monkeypatch: pytest.MonkeyPatch, now: datetime, expires: datetime | None
) -> None:
    class Then(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return now

    monkeypatch.setattr(aws_stub, "datetime", Then)
    key = f"2025-01.w12.g{now.month}"
    AwsProvider("eu-central-1", lambda: now, endpoint_url=aws.stub.url).create(key)
    found = kms_key(aws, f"2025-01_dw12_dg{now.month}")
    assert found["ValidTo"] == expires


def test_a_kms_key_that_somebody_scheduled_for_deletion_is_not_gone(aws: AwsRig) -> None:
    provider, key = aws.provider(), "2025-02.w12"
    provider.create(key)
    aws.stub.on_ScheduleKeyDeletion({"KeyId": "alias/lethe/2025-02_dw12"})
    assert key in provider.list()
    assert provider.destroyed_for_good_at(key) is None
    provider.destroy(key)
    assert key not in provider.list()
    assert provider.destroyed_for_good_at(key) is not None
    assert kms_key(aws, "2025-02_dw12")["now"] is None


def test_a_kms_key_that_aws_made_is_refused(aws: AwsRig) -> None:
    made = aws.stub.on_CreateKey({})["KeyMetadata"]["KeyId"]
    aws.stub.on_CreateAlias({"AliasName": "alias/lethe/2025-03_dw12", "TargetKeyId": made})
    with pytest.raises(ConfigurationError, match="cannot be destroyed at once"):
        aws.provider().create("2025-03.w12")


def test_a_race_for_an_alias_leaves_no_key_with_material_behind(aws: AwsRig) -> None:
    key = "2025-04.w12"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: aws.provider().create(key), range(4)))
    named = set(aws.stub.aliases.values())
    assert [k for k in aws.stub.keys.values() if k["now"] is not None and k["KeyId"] not in named] == []


# Google


@pytest.fixture
def gcp(tmp_path: Path) -> Iterator[GcpRig]:
    rig = GcpRig(tmp_path)
    yield rig
    rig.close()


@pytest.mark.parametrize("state", ["DISABLED", "PENDING_GENERATION"])
def test_a_version_that_is_disabled_is_neither_changed_nor_destroyed(gcp: GcpRig, state: str) -> None:
    provider = gcp.provider()
    provider.create(KEY)
    wrapped = provider.wrap(KEY, SECRET)
    stored = gcp.stub.keys[KEY.replace(".", "_d")]
    stored["state"] = state
    for call in (lambda: provider.wrap(KEY, SECRET), lambda: provider.unwrap(KEY, wrapped)):
        with pytest.raises(ConfigurationError, match=f"is {state}: enable it there"):
            call()
    assert provider.destroyed_for_good_at(KEY) is None
    assert provider.list() == [KEY]
    stored["state"] = "ENABLED"
    assert provider.unwrap(KEY, wrapped) == SECRET
    stored["state"] = "DISABLED"
    provider.destroy(KEY)
    assert stored["state"] == "DESTROY_SCHEDULED"
    assert provider.destroyed_for_good_at(KEY) is None


def test_a_version_that_was_imported_is_refused(gcp: GcpRig) -> None:
    provider = gcp.provider()
    provider.create(KEY)
    gcp.stub.keys[KEY.replace(".", "_d")]["importJob"] = "projects/p/locations/l/keyRings/r/importJobs/j"
    for call in (lambda: provider.create(KEY), lambda: provider.wrap(KEY, SECRET)):
        with pytest.raises(ConfigurationError, match=r"was imported.*would not be final"):
            call()


# Azure


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[AzureRig]:
    rig = AzureRig(tmp_path)
    yield rig
    rig.close()


def test_a_secret_wrapped_by_somebody_with_the_public_key_is_refused(azure: AzureRig) -> None:
    """Azure wraps with a public key: the signature keeps a secret of the attacker's own from being put in."""
    provider = azure.provider()
    provider.create("2025-01.w12")
    version, _, signature = provider.wrap("2025-01.w12", b"s" * 32).decode().split(".")[1:]
    private = azure.stub.keys["lethe-2025--01-dw12"]["versions"][version]
    forged = azure_stub.coded(private.public_key().encrypt(b"a" * 32, azure_stub.OAEP))
    with pytest.raises(IntegrityError):
        provider.unwrap("2025-01.w12", f"1.{version}.{forged}.{signature}".encode())


def test_a_vault_with_purge_protection_is_waited_for(azure: AzureRig) -> None:
    azure.stub.purgeable = False
    provider = azure.provider()
    provider.create("2025-01.w12")
    wrapped = provider.wrap("2025-01.w12", b"s" * 32)
    provider.destroy("2025-01.w12")
    with pytest.raises(ExpiredKeyError):
        provider.unwrap("2025-01.w12", wrapped)
    with pytest.raises(ExpiredKeyError):
        provider.create("2025-01.w12")
    assert provider.destroyed_for_good_at("2025-01.w12") is None
    assert provider.list() == ["2025-01.w12"]
    azure.stub.ahead = timedelta(days=91)
    assert provider.destroyed_for_good_at("2025-01.w12") is not None
    assert provider.list() == []


def test_a_vault_whose_purge_is_not_allowed_says_so(azure: AzureRig) -> None:
    azure.stub.rights -= {"purge"}
    provider = azure.provider()
    provider.create("2025-01.w12")
    with pytest.raises(ConfigurationError, match="rights"):
        provider.destroy("2025-01.w12")
    assert provider.destroyed_for_good_at("2025-01.w12") is None


def test_an_exportable_key_of_a_vault_is_refused(azure: AzureRig) -> None:
    provider = azure.provider()
    provider.create("2025-01.w12")
    azure.stub.keys["lethe-2025--01-dw12"]["exportable"] = True
    with pytest.raises(ConfigurationError, match="exportable"):
        provider.wrap("2025-01.w12", b"s" * 32)


def test_a_key_of_a_vault_that_is_disabled_says_so(azure: AzureRig) -> None:
    provider = azure.provider()
    provider.create(KEY)
    wrapped = provider.wrap(KEY, SECRET)
    azure.stub.keys["lethe-2025--01-dw12"]["enabled"] = False
    for call in (lambda: provider.wrap(KEY, SECRET), lambda: provider.unwrap(KEY, wrapped)):
        with pytest.raises(ConfigurationError, match="is disabled: enable it there"):
            call()
    assert provider.destroyed_for_good_at(KEY) is None


def test_names_of_a_vault_spell_every_key_id(azure: AzureRig) -> None:
    provider = azure.provider()
    ids = ["2025-01.w12", "hold.A1", "hold.a1", "x_y.z-u-d", "Z"]
    for key_id in ids:
        provider.create(key_id)
    assert provider.list() == sorted(ids)


@pytest.mark.parametrize("kind", [AwsRig, GcpRig, AzureRig])
def test_a_service_that_accepts_and_never_answers_is_waited_for_no_longer_than_its_time_out(
    kind: type[AwsRig | GcpRig | AzureRig], tmp_path: Path
) -> None:
    rig = kind(tmp_path)
    rig.provider().create(KEY)
    rig.stub.away, rig.stub.silent = True, 120
    begun = time.monotonic()
    with pytest.raises(TransientError):
        rig.provider(timeout=1).unwrap(KEY, b"1.1.a.b")
    assert time.monotonic() - begun < 120
    rig.close()
