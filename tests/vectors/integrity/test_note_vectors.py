"""Published vectors for signed notes: Go's sumdb/note, and a checkpoint cosigned with ML-DSA-44."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lethe.integrity.evidence.verify_evidence import Key
from lethe.integrity.log.checkpoint import Checkpoint, cosigned_message
from lethe.integrity.log.note import ED25519, Note, Signature, VerifierKey, sign_lines, verify
from lethe.schemas.errors import IntegrityError

# golang.org/x/mod/sumdb/note, note_test.go
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SECRET = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
BY_PETER = (
    "— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
BY_ENOCH = (
    "— EnochRoot "
    "rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)


def opened(note: str, *keys: str) -> list[str]:
    return [key.name for key in verify(Note.parse(note.encode()), map(VerifierKey.parse, keys))]


def test_signing_gives_the_published_note() -> None:
    key = VerifierKey.parse(PETER)
    private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(PETER_SECRET)[1:])
    assert private.public_key().public_bytes_raw() == key.public
    note = sign_lines(TEXT, [Signature(key.name, key.key_id, private.sign(TEXT.encode()))])
    assert bytes(note).decode() == TEXT + "\n" + BY_PETER


def test_known_keys_verify_and_unknown_ones_are_ignored() -> None:
    note = TEXT + "\n" + BY_PETER + BY_ENOCH
    assert opened(note, PETER) == ["PeterNeumann"]
    assert opened(note, PETER, ENOCH) == ["PeterNeumann", "EnochRoot"]
    with pytest.raises(IntegrityError, match="none of the keys"):
        opened(note)
    with pytest.raises(IntegrityError, match="none of the keys"):
        opened(TEXT + "\n" + BY_ENOCH, PETER)


def test_a_bad_signature_by_a_known_key_refuses_the_note() -> None:
    bad = BY_PETER[:60] + "ABCD" + BY_PETER[60:]
    with pytest.raises(IntegrityError, match="PeterNeumann"):
        opened(TEXT + "\n" + bad, PETER)
    with pytest.raises(IntegrityError, match="PeterNeumann"):
        opened(TEXT + "\n" + bad + BY_ENOCH, PETER, ENOCH)
    assert opened(TEXT + "\n" + bad + BY_ENOCH, ENOCH) == ["EnochRoot"]


def test_sixteen_signatures_are_accepted_and_a_hundred_and_one_are_not() -> None:
    assert set(opened(TEXT + "\n" + BY_PETER + BY_ENOCH * 15, PETER)) == {"PeterNeumann"}
    with pytest.raises(IntegrityError, match="more than"):
        opened(TEXT + "\n" + BY_PETER * 101, PETER)


@pytest.mark.parametrize(
    "note",
    [
        TEXT,
        TEXT + "\n",
        TEXT + "\n" + BY_PETER[:-1],
        "\x01" + TEXT + "\n" + BY_PETER,
        TEXT + "\n" + BY_PETER.replace("PeterNeumann", "Bad Name"),
        TEXT + "\n" + BY_PETER + "Unexpected line.\n",
        TEXT + "\n" + BY_PETER.replace("— ", "- "),
        TEXT + "\n" + BY_PETER.replace("AM=", "AN="),
        TEXT + "\n" + "— PeterNeumann x08go/==\n",
        "",
    ],
)
def test_malformed_notes(note: str) -> None:
    with pytest.raises(IntegrityError, match="signed note"):
        opened(note, PETER)


def test_a_note_that_is_not_utf8() -> None:
    with pytest.raises(IntegrityError, match="UTF-8"):
        Note.parse(b"\xff" + (TEXT + "\n" + BY_PETER).encode())


def test_every_mangled_verifier_key_is_refused() -> None:
    mangled = [PETER[i:j] for i in range(len(PETER)) for j in range(i + 1, len(PETER) + 1)]
    mangled += [PETER[:i] + chr(ord(PETER[i]) + 1) + PETER[i + 1 :] for i in range(len(PETER))]
    mangled.remove(PETER)
    mangled += [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ]
    for text in mangled:
        with pytest.raises(IntegrityError):
            VerifierKey.parse(text)


def test_the_stand_alone_verifier_reads_the_same_key() -> None:
    assert Key.parse(PETER).id == VerifierKey.parse(PETER).key_id == bytes.fromhex("c74f20a3")


# filippo.io/torchwood v0.10.0, cmd/litewitness/testdata/mldsa.txt
COSIGNED = Path(__file__).parent / "mldsa_checkpoint.txt"


def test_a_checkpoint_cosigned_with_ml_dsa_44_by_another_implementation() -> None:
    key_line, _, note_text = COSIGNED.read_text().partition("\n\n")
    key, note = VerifierKey.parse(key_line), Note.parse(note_text.encode())
    assert verify(note, [key]) == [key]
    assert Checkpoint.parse(note.text).size == 1
    Key.parse(key_line).verify(note.text, note.signatures[0].value)

    for changed in (note.text.replace("\n1\n", "\n2\n"), note.text.replace("mldsa-log", "other-log")):
        with pytest.raises(IntegrityError, match="does not hold"):
            key.verify(changed, note.signatures[0])
    later = Signature(key.name, key.key_id, (1).to_bytes(8, "big") + note.signatures[0].value[8:])
    with pytest.raises(IntegrityError, match="does not hold"):
        key.verify(note.text, later)


def test_the_cosigned_message_is_laid_out_as_specified() -> None:
    root = b"0123456789abcdef0123456789abcdef"
    message = cosigned_message(
        "mirror.test/m1", 1_679_315_147, Checkpoint("example.com/log", 20_852_163, root)
    )
    assert message == (
        b"subtree/v1\n\x00"
        b"\x0emirror.test/m1"
        b"\x00\x00\x00\x00\x64\x18\x50\xcb"
        b"\x0fexample.com/log"
        b"\x00\x00\x00\x00\x00\x00\x00\x00"
        b"\x00\x00\x00\x00\x01\x3e\x2d\xc3" + root
    )


def test_the_example_checkpoint_of_the_specification() -> None:
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    checkpoint = Checkpoint.parse(text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert str(checkpoint) == text
    assert checkpoint.root.hex().startswith("0ac5186a91863e8e")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o\n1\n",
        "o\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
        "o\n01\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "o\n-1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "o\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n",
        "o\n1\nAAAA\n",
        "\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "o\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\nx\n",
    ],
)
def test_malformed_checkpoints(text: str) -> None:
    with pytest.raises(IntegrityError, match="checkpoint"):
        Checkpoint.parse(text)


def test_the_types_of_keys() -> None:
    assert VerifierKey.parse(PETER).kind == ED25519
    with pytest.raises(IntegrityError, match="wrong length"):
        VerifierKey.parse(PETER).verify(TEXT, Signature("PeterNeumann", b"\xc7\x4f\x20\xa3", b"short"))
