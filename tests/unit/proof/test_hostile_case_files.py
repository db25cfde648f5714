"""A case file with whatever is done to its bytes: refused in words, or what was signed; never another error."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from lethe.integrity.log import merkle
from lethe.integrity.log.checkpoint import Checkpoint
from lethe.integrity.log.signing import Signer
from lethe.operations.case_files import check as checking
from lethe.operations.case_files.check import check, origin
from lethe.schemas.errors import IntegrityError

NOW = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp())


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer.generate("lethe", NOW)


def keys_of(signer: Signer) -> list[str]:
    return [str(key) for key in signer.history.sets[-1].keys]


def made(signer: Signer, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    said = {"version": 1, "case": "R-1", "by": "eve", "made": "now"}
    listed = {name: sha256(data).hexdigest() for name, data in files.items()}
    manifest = json.dumps({**said, "files": listed}).encode()
    of = origin(signer.name, sha256(manifest).hexdigest())
    note = signer.sign(Checkpoint(of, 1, merkle.root([merkle.leaf_hash(manifest)])), NOW)
    signature = {
        "keys": [bytes(n).decode() for n in signer.history.notes],
        "checkpoint": bytes(note).decode(),
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as packed:
        for name, data in {**files, "manifest.json": manifest}.items():
            packed.writestr(name, data)
        packed.writestr("signature.json", json.dumps(signature))
    return out.getvalue()


FILES = {"communications.csv": b"time,to\n" * 20, "report.html": b"<p>"}


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_whatever_byte_is_changed_or_cut_is_refused_or_changes_nothing(signer: Signer, method: int) -> None:
    good, keys = made(signer, FILES, method), keys_of(signer)
    whole, refused = check(good, keys), 0
    changed = [good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :] for at in range(0, len(good), 7)]
    for data in [*changed, *(good[:at] for at in range(0, len(good), 97)), b"", b"PK", good[1:]]:
        try:
            assert check(data, keys) == whole
        except IntegrityError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_another_way_of_packing_is_refused(signer: Signer, method: int) -> None:
    good = made(signer, FILES, method)
    for data in (good, good[:60] + b"\xff" + good[61:]):
        with pytest.raises(IntegrityError, match=r"in a way that no case file is|no whole ZIP"):
            check(data, keys_of(signer))


def test_parts_of_two_and_another_key_are_refused(signer: Signer) -> None:
    stranger = Signer.generate("lethe", NOW)
    one, two = made(signer, FILES), made(signer, {"communications.csv": b"others"})
    with pytest.raises(IntegrityError):
        check(made(stranger, FILES), keys_of(signer))
    for name in ("manifest.json", "signature.json", "communications.csv"):
        out = io.BytesIO()
        first, second = zipfile.ZipFile(io.BytesIO(one)), zipfile.ZipFile(io.BytesIO(two))
        with zipfile.ZipFile(out, "w") as mixed, first, second:
            for of in first.namelist():
                mixed.writestr(of, (second if of == name else first).read(of))
        with pytest.raises(IntegrityError):
            check(out.getvalue(), keys_of(signer))


def test_a_bomb_is_refused_before_it_has_unpacked(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_MOST_BYTES", 1 << 20)
    bomb = made(signer, {"communications.csv": bytes(5 << 20)})
    assert len(bomb) < 30_000
    with pytest.raises(IntegrityError, match="unpacks to more than"):
        check(bomb, keys_of(signer))
    monkeypatch.setattr(checking, "_MOST_FILES", 3)
    with pytest.raises(IntegrityError, match="too many files"):
        check(made(signer, FILES), keys_of(signer))
