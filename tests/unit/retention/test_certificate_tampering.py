"""Whatever is done to a deletion certificate shows: each field edited, files removed, exchanged, added, put back."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lethe.integrity.log.signing import Signer
from lethe.keys.anchors import Anchors
from lethe.schemas.errors import IntegrityError
from lethe.tiers.certificates import certificates
from lethe.tiers.store.objects import LocalObjects

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class Shelf:
    """A warehouse with nothing but certificates, the keys they are signed with, and what is kept with those."""

    def __init__(self, home: Path, signer: Signer) -> None:
        self.home, self.signer = home, signer
        self.objects = LocalObjects(home / "warehouse")
        self.memory = Anchors(home / "keys", signed_in="certificates.signed")

    def issue(self, *works: str) -> None:
        registrar = certificates.Registrar(self.objects, self.signer, self.memory)
        for work in works:
            body = {"what": {"month": work, "key_ids": [f"{work}.w12"]}, "counts": {"rows": 7}, "done": "now"}
            registrar.issue(work, "window", body, NOW)

    def verify(self) -> int:
        return certificates.verify_all(self.objects, self.signer.history.keys, self.memory)

    def refused(self) -> str:
        with pytest.raises(IntegrityError) as refused:
            self.verify()
        return str(refused.value)

    def path(self, number: int) -> Path:
        return self.home / "warehouse" / certificates.path_of(number)

    def folder(self) -> Path:
        return self.path(0).parent


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer.generate("lethe", int(NOW.timestamp())).rotate(int(NOW.timestamp()) + 1)


@pytest.fixture
def shelf(tmp_path: Path, signer: Signer) -> Shelf:
    made = Shelf(tmp_path, signer)
    made.issue("2025-03", "2025-04", "2025-05", "2025-06", "2025-07")
    assert made.verify() == 5
    return made


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document, of its containers too."""
    yield path
    if isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(below, (*path, key))


def edits(value: Any) -> Iterator[Any]:
    if isinstance(value, int):
        yield from (value + 1, -1, float(value), str(value), None)
    elif isinstance(value, str):
        middle = len(value) // 2
        yield from (
            value[:middle] + chr(ord(value[middle]) ^ 1) + value[middle + 1 :],
            value[:middle],
            value + "x",
        )
        yield from ("", None, 7)
    elif isinstance(value, list):
        yield from ([*value, *value[:1], "AAAA"], value[:-1] if value else ["AAAA"], None)
    else:
        yield from ({**value, "added": 1}, {}, None)


@pytest.mark.parametrize("number", [0, 3, 4])
def test_each_field_edited_shows(shelf: Shelf, number: int) -> None:
    good = shelf.path(number).read_bytes()
    whole, tried = json.loads(good), 0
    for place in places(whole):
        at = whole
        for step in place:
            at = at[step]
        for wrong in edits(at):
            edited = {"top": copy.deepcopy(whole)}
            node: Any = edited
            for step in ("top", *place)[:-1]:
                node = node[step]
            node[("top", *place)[-1]] = wrong
            if json.dumps(edited["top"]) == json.dumps(whole):
                continue
            shelf.path(number).write_text(json.dumps(edited["top"]))
            assert shelf.refused(), (place, wrong)
            tried += 1
    for name in ("certificate", "proof", "checkpoint", "keys"):
        shelf.path(number).write_text(json.dumps({k: v for k, v in whole.items() if k != name}))
        assert shelf.refused(), name
    assert tried > 60
    shelf.path(number).write_bytes(good)
    assert shelf.verify() == 5


def test_each_file_flipped_cut_dropped_and_exchanged_shows(shelf: Shelf) -> None:
    files = [shelf.path(number).read_bytes() for number in range(5)]
    for number, good in enumerate(files):
        for wrong in (b"", good[: len(good) // 2], b"[]", b"null"):
            shelf.path(number).write_bytes(wrong)
            assert shelf.refused(), (number, wrong[:10])
        shelf.path(number).unlink()
        assert shelf.refused(), number
        shelf.path(number).write_bytes(good)
        for other in range(number):
            shelf.path(number).write_bytes(files[other])
            assert shelf.refused(), (number, other)
            shelf.path(other).write_bytes(good)
            assert shelf.refused(), (number, other)
            shelf.path(number).write_bytes(good)
            shelf.path(other).write_bytes(files[other])
    (shelf.folder() / "00000005.json").write_bytes(files[4])
    assert "another" in shelf.refused() or "other" in shelf.refused()


@pytest.mark.parametrize("left", [4, 2, 0])
def test_the_last_ones_removed_show_and_nothing_is_signed_in_their_place(shelf: Shelf, left: int) -> None:
    for number in range(left, 5):
        shelf.path(number).unlink()
    assert f"there are {left} deletion certificates, but 5 were signed" in shelf.refused()
    for work in ("2025-07", "2025-08"):
        with pytest.raises(IntegrityError, match="nothing is signed until they are brought back"):
            shelf.issue(work)
    assert len(certificates.numbers(shelf.objects)) == left


def test_an_older_copy_put_back_shows(shelf: Shelf, tmp_path: Path) -> None:
    shutil.copytree(shelf.folder(), tmp_path / "older")
    shelf.issue("2025-08")
    shutil.rmtree(shelf.folder())
    shutil.copytree(tmp_path / "older", shelf.folder())
    assert "there are 5 deletion certificates, but 6 were signed" in shelf.refused()


def test_others_signed_with_the_real_keys_in_their_place_show(shelf: Shelf, tmp_path: Path) -> None:
    """Somebody has the keys, and no word of what was signed with them."""
    forged = Shelf(tmp_path / "forger", shelf.signer)
    forged.issue("2025-03", "2025-04", "harmless", "2025-06", "2025-07")
    for number in range(5):
        shelf.path(number).write_bytes(forged.path(number).read_bytes())
    assert "certificate 4 is not the one that was signed" in shelf.refused()
    with pytest.raises(IntegrityError, match="is not the one that was signed"):
        shelf.issue("2025-08")
    forged.issue("2025-08", "2025-09")
    for number in range(7):
        shelf.path(number).write_bytes(forged.path(number).read_bytes())
    assert "certificate 4 is not the one that was signed" in shelf.refused()


def test_certificates_of_a_release_that_noted_none_are_noted_with_the_next(shelf: Shelf) -> None:
    shutil.rmtree(shelf.memory.directory / "certificates.signed")
    assert shelf.verify() == 5
    shelf.issue("2025-07")  # certified already
    shelf.path(4).unlink()
    assert "there are 4 deletion certificates, but 5 were signed" in shelf.refused()


def test_a_crash_before_it_is_noted_is_no_tampering(shelf: Shelf) -> None:
    noted = {p: p.read_bytes() for p in (shelf.memory.directory / "certificates.signed").iterdir()}
    shelf.issue("2025-08")
    for path, data in noted.items():
        path.write_bytes(data)
    assert shelf.verify() == 6
    shelf.issue("2025-09")
    assert shelf.verify() == 7


def test_a_field_twice_shows(shelf: Shelf) -> None:
    """Readers of JSON differ in which of the two they take: what one verifies is not what another one reads."""
    good = shelf.path(2).read_text()
    for name in ("certificate", "proof", "checkpoint", "keys", "counts", "rows", "done"):
        twice = good.replace(f'"{name}":', f'"{name}": {{"rows": 0}}, "{name}":', 1)
        shelf.path(2).write_text(twice)
        assert "is no deletion certificate" in shelf.refused(), name
    shelf.path(2).write_text(json.dumps(json.loads(good)))  # white space does not matter
    assert shelf.verify() == 5
