"""Time stamps from a real authority: taken once, kept with what they stamp, refused if anything is off."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import rfc3161_client
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from integrity_authority import EXTENSIONS, Authority, served
from integrity_samples import NOW, PARTITION, STREAM, Archive, rows
from rfc3161_client import TimestampRequestBuilder

from lethe.integrity.evidence.verify_evidence import Der, EvidenceError, verify_stamp
from lethe.integrity.log.publish import publish
from lethe.integrity.log.stamp import Stamped, http_authority, stamp, stamped_at, stamps, token
from lethe.integrity.log.store import CHECKPOINT
from lethe.schemas.errors import ConfigurationError, IntegrityError, TransientError

DATA = b"a signed checkpoint\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def response(authority: Authority, data: bytes = DATA, certificates: bool = True) -> bytes:
    request = TimestampRequestBuilder().data(data).nonce(nonce=False).cert_request(cert_request=certificates)
    return authority.answer(request.build().as_bytes())


def test_a_checkpoint_is_stamped_over_http_and_kept_with_its_stamp(authority: Authority) -> None:
    archive = Archive.of(rows(7), 1)
    signed = archive.store.objects[CHECKPOINT]
    with served(authority.answer) as url:
        ask = http_authority(url, authority.roots, timeout=60)
        made = stamp(archive.store, ask)
        assert made == Stamped("stamps/007", signed, archive.store.objects["stamps/007/response"])
        assert abs(stamped_at(made.response, signed, authority.roots).timestamp() - time.time()) < 60

        before = dict(archive.store.objects)
        assert stamp(archive.store, ask) is None
        assert archive.store.objects == before
    assert list(stamps(archive.store)) == [made]


def test_a_log_without_checkpoint_is_not_stamped() -> None:
    def never(_: bytes) -> bytes:
        raise AssertionError

    archive = Archive.of(rows(1))
    del archive.store.objects[CHECKPOINT]
    assert stamp(archive.store, never) is None


def test_stamps_come_smallest_log_first() -> None:
    archive = Archive.of(rows(2), 1)
    for size in (1_234_567, 12, 1_000, 999):
        for name in ("checkpoint", "response"):
            archive.store.put(f"{Stamped.folder(size)}/{name}", b"")
    assert [found.path for found in stamps(archive.store)] == [
        "stamps/012",
        "stamps/999",
        "stamps/x001/000",
        "stamps/x001/x234/567",
    ]


def test_a_crash_before_the_answer_is_healed_by_the_next_run(authority: Authority) -> None:
    archive = Archive.of(rows(3), 1)
    signed = archive.store.objects[CHECKPOINT]

    def dies(_: bytes) -> bytes:
        raise TransientError("no answer")

    with pytest.raises(TransientError):
        stamp(archive.store, dies)
    # Meanwhile the keys were changed, and the same checkpoint was signed again.
    publish(archive.store, archive.signer.rotate(NOW), STREAM, PARTITION, [], NOW)
    assert archive.store.objects[CHECKPOINT] != signed
    made = stamp(archive.store, lambda data: response(authority, data))
    assert made is not None
    assert made.note == signed
    stamped_at(made.response, signed, authority.roots)


def test_of_two_workers_that_stamp_at_once_one_is_enough(authority: Authority) -> None:
    archive = Archive.of(rows(3), 1)

    def slow(data: bytes) -> bytes:
        archive.store.put("stamps/003/response", b"the other worker's")
        return response(authority, data)

    assert stamp(archive.store, slow) is None


@pytest.mark.parametrize("reply", [500, b"", b"junk", b"\x30\x03\x02\x01\x00", b"x" * ((1 << 20) + 1)])
def test_an_authority_that_answers_wrongly_delays_the_stamp(authority: Authority, reply: object) -> None:
    with (
        served(lambda _: reply) as url,
        pytest.raises(TransientError, match=r"does not answer|no valid stamp"),
    ):
        http_authority(url, authority.roots, timeout=60)(DATA)


def test_an_authority_that_stamps_something_else_delays_the_stamp(authority: Authority) -> None:
    other = response(authority, b"something else")
    with served(lambda _: other) as url, pytest.raises(TransientError, match="another checkpoint"):
        http_authority(url, authority.roots, timeout=60)(DATA)


def test_an_authority_that_is_not_there_delays_the_stamp(authority: Authority) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        with pytest.raises(TransientError, match="does not answer"):
            http_authority(url, authority.roots, timeout=60)(DATA)


def test_an_authority_that_hangs_is_given_up_after_the_time_out(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(TransientError, match="does not answer"):
            http_authority(url, authority.roots, timeout=0.2)(DATA)


def test_what_an_authority_must_be_configured_with(authority: Authority) -> None:
    with pytest.raises(ConfigurationError, match="http"):
        http_authority("file:///etc/passwd", authority.roots, timeout=1)
    with pytest.raises(ConfigurationError, match="root"):
        http_authority("http://127.0.0.1/", [], timeout=1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chain": True},
        {"digest": "sha512", "ess": "sha1"},
        {"key": "ec -pkeyopt ec_paramgen_curve:P-256", "digest": "sha384", "ess": "sha512", "chain": True},
    ],
    ids=["rsa", "with its root", "sha512, named by sha1", "p256, sha384"],
)
def test_authorities_of_all_kinds_are_verified(tmp_path: Path, options: dict[str, object]) -> None:
    authority = Authority(tmp_path, **options)  # type: ignore[arg-type]
    answer = response(authority)
    attested = stamped_at(answer, DATA, authority.roots)
    assert abs(attested.timestamp() - time.time()) < 60
    if "chain" not in options:
        # Another implementation agrees (it does not read answers that hold more than one certificate).
        verifier = rfc3161_client.VerifierBuilder(roots=list(authority.roots)).build()
        decoded = rfc3161_client.decode_timestamp_response(answer)
        assert verifier.verify_message(decoded, DATA)
        assert decoded.tst_info.gen_time == attested
        assert decoded.time_stamp_token() == token(answer)


def test_every_flipped_bit_of_a_stamp_is_noticed(authority: Authority) -> None:
    whole = token(response(authority))
    verify_stamp(whole, DATA, authority.roots)
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(EvidenceError):
            verify_stamp(bytes(damaged), DATA, authority.roots)


def test_a_stamp_cut_short_or_followed_by_more_is_refused(authority: Authority) -> None:
    whole = token(response(authority))
    for wrong in (b"", whole[:1], whole[:100], whole[:-1], whole + b"\x00", whole + whole):
        with pytest.raises(EvidenceError):
            verify_stamp(wrong, DATA, authority.roots)


def test_a_stamp_by_an_authority_that_is_not_trusted_is_refused(authority: Authority, tmp_path: Path) -> None:
    for chain in (False, True):
        stranger = Authority(tmp_path / str(chain), chain=chain)
        with pytest.raises(IntegrityError, match="authority that you trust"):
            stamped_at(response(stranger), DATA, authority.roots)
    with pytest.raises(IntegrityError, match="without a root"):
        stamped_at(response(authority), DATA, [])


def test_a_certificate_for_something_else_makes_no_stamps(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    signed_data = Der.all(token(response(authority)))[0].parts()[1].parts(0xA0)[0]
    info = signed_data.parts()[2].parts()[1].parts(0xA0)[0].content
    assert signed_again(authority, info, "timeStamping") > datetime(2020, 1, 1, tzinfo=UTC)
    with pytest.raises(EvidenceError, match="not one for time stamps"):
        signed_again(authority, info, "serverAuth")


def signed_again(authority: Authority, info: bytes, usage: str) -> datetime:
    """The same statement, signed with a certificate of the same root that is for `usage`."""
    (authority.folder / "extensions").write_text(EXTENSIONS.format(usage=usage))
    issued = ["-in", "signer.csr", "-CA", "root.pem", "-CAkey", "root.key", "-set_serial", "7"]
    authority.openssl("x509", "-req", *issued, "-extfile", "extensions", "-out", "other.pem")
    return verify_stamp(signed_with(authority, info, "other.pem"), DATA, authority.roots)


def signed_with(authority: Authority, info: bytes, certificate: str) -> bytes:
    """A token over the statement, by the holder of that certificate."""
    (authority.folder / "info").write_bytes(info)
    kind = ["-binary", "-nodetach", "-nosmimecap", "-cades", "-econtent_type", "id-smime-ct-TSTInfo"]
    signer = ["-signer", certificate, "-inkey", "signer.key", "-outform", "DER"]
    authority.openssl("cms", "-sign", *kind, "-in", "info", *signer, "-out", "token")
    return (authority.folder / "token").read_bytes()


@pytest.mark.parametrize(("first", "last"), [(-20, -10), (10, 20)])
def test_a_certificate_that_was_not_valid_then_makes_no_stamps(tmp_path: Path, first: int, last: int) -> None:
    authority = Authority(tmp_path)
    info = (
        Der.all(token(response(authority)))[0].parts()[1].parts(0xA0)[0].parts()[2].parts()[1].parts(0xA0)[0]
    )
    key = serialization.load_pem_private_key((tmp_path / "signer.key").read_bytes(), None)
    root_key = serialization.load_pem_private_key((tmp_path / "root.key").read_bytes(), None)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Test stamps")]))
        .issuer_name(authority.roots[0].subject)
        .public_key(key.public_key())  # type: ignore[arg-type]
        .serial_number(7)
        .not_valid_before(now + timedelta(days=first))
        .not_valid_after(now + timedelta(days=last))
        .add_extension(usage, critical=True)
    )
    certificate = builder.sign(root_key, hashes.SHA256())  # type: ignore[arg-type]
    (tmp_path / "dated.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    with pytest.raises(EvidenceError, match="not valid"):
        verify_stamp(signed_with(authority, info.content, "dated.pem"), DATA, authority.roots)


def test_a_certificate_that_has_nothing_to_do_with_it_is_refused(tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger")
    authority = Authority(tmp_path / "authority", chain=True, extra="../stranger/root.pem")
    assert stranger.roots != authority.roots
    with pytest.raises(EvidenceError, match="not one of its signer's chain"):
        verify_stamp(token(response(authority)), DATA, authority.roots)


def test_a_refusal_is_no_stamp(authority: Authority) -> None:
    refusal = authority.answer(b"not a request")
    with pytest.raises(IntegrityError, match="not granted"):
        stamped_at(refusal, DATA, authority.roots)


def test_an_answer_without_certificate_is_refused(authority: Authority) -> None:
    with pytest.raises(IntegrityError, match="time stamp"):
        stamped_at(response(authority, certificates=False), DATA, authority.roots)
