"""Published Merkle vectors: the known trees and proofs of Certificate Transparency.

Source: transparency-dev/merkle (rfc6962/rfc6962_test.go, proof/verify_test.go, testdata). Its corruption
probes are applied to every proof. Where it accepts a consistency proof from an empty tree, we refuse: such a
proof says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lethe.integrity.evidence import verify_evidence
from lethe.integrity.log import merkle
from lethe.schemas.errors import IntegrityError

LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    bytes.fromhex(root)
    for root in (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
H96A2 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
H5F08 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
H6B47 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
HBC1A = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
HCA85 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
HD37E = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
HFAC5 = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
H6E34 = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
H0EBC = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
HB086 = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f"

INCLUSION = [  # leaf (counted from 1), size, proof
    (1, 1, []),
    (1, 8, [H96A2, H5F08, H6B47]),
    (6, 8, [HBC1A, HCA85, HD37E]),
    (3, 3, [HFAC5]),
    (2, 5, [H6E34, H5F08, HBC1A]),
]
CONSISTENCY = [
    (1, 1, []),
    (1, 8, [H96A2, H5F08, H6B47]),
    (6, 8, [H0EBC, HCA85, HD37E]),
    (2, 5, [H5F08, HBC1A]),
    (6, 7, [H0EBC, HB086, HD37E]),
]
SOME_HASH = bytes.fromhex("abacaba000000000000000000000000000000000000000000060061e00123456")

Proof = list[bytes]


def test_hashes_of_leaves_and_nodes() -> None:
    assert merkle.EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert merkle.leaf_hash(b"").hex() == H6E34
    assert (
        merkle.leaf_hash(b"L123456").hex()
        == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    )
    node = "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"
    assert merkle.node_hash(b"N123", b"N456").hex() == node
    assert merkle.leaf_hash(b"Hello" + b"World") != merkle.node_hash(b"Hello", b"World")


@pytest.mark.parametrize("size", range(1, 9))
def test_roots(size: int) -> None:
    hashes = [merkle.leaf_hash(leaf) for leaf in LEAVES[:size]]
    assert merkle.root(hashes) == ROOTS[size - 1]
    assert verify_evidence._root(hashes) == ROOTS[size - 1]


@pytest.mark.parametrize(("leaf", "size", "proof"), INCLUSION)
def test_inclusion_proofs(leaf: int, size: int, proof: list[str]) -> None:
    hashes = [merkle.leaf_hash(data) for data in LEAVES[:size]]
    expected = [bytes.fromhex(item) for item in proof]
    assert merkle.inclusion_proof(hashes, leaf - 1) == expected
    merkle.verify_inclusion(hashes[leaf - 1], leaf - 1, size, expected, ROOTS[size - 1])
    for index, of, path, root, hashed in _inclusion_probes(leaf - 1, size, expected, hashes[leaf - 1]):
        with pytest.raises(IntegrityError):
            merkle.verify_inclusion(hashed, index, of, path, root)


def _inclusion_probes(
    index: int, size: int, proof: Proof, leaf: bytes
) -> Iterator[tuple[int, int, Proof, bytes, bytes]]:
    root = ROOTS[size - 1]
    for wrong in (index - 1, index + 1, index ^ 2):
        yield wrong, size, proof, root, leaf
    for wrong in (size * 2, size // 2):
        yield index, wrong, proof, root, leaf
    yield index, size, proof, root, b"WrongLeaf"
    yield index, size, proof, merkle.EMPTY_ROOT, leaf
    yield index, size, proof, SOME_HASH, leaf
    for path in _wrong_paths(proof, root):
        yield index, size, path, root, leaf


def _wrong_paths(proof: Proof, *roots: bytes) -> Iterator[Proof]:
    for extra in (b"", *roots):
        yield [*proof, extra]
        yield [extra, *proof]
    for at, item in enumerate(proof):
        yield [*proof[:at], bytes([item[0] ^ 8]) + item[1:], *proof[at + 1 :]]
    if proof:
        yield proof[:-1]
        yield [proof[0], *proof]
    if len(proof) > 1:
        yield [proof[0], SOME_HASH, *proof[1:]]


@pytest.mark.parametrize(("old", "size", "proof"), CONSISTENCY)
def test_consistency_proofs(old: int, size: int, proof: list[str]) -> None:
    hashes = [merkle.leaf_hash(data) for data in LEAVES[:size]]
    expected = [bytes.fromhex(item) for item in proof]
    assert merkle.consistency_proof(hashes, old) == expected
    merkle.verify_consistency(old, size, expected, ROOTS[old - 1], ROOTS[size - 1])
    if proof:
        for m, n, path, old_root, root in _consistency_probes(old, size, expected):
            with pytest.raises(IntegrityError):
                merkle.verify_consistency(m, n, path, old_root, root)


def _consistency_probes(old: int, size: int, proof: Proof) -> Iterator[tuple[int, int, Proof, bytes, bytes]]:
    old_root, root = ROOTS[old - 1], ROOTS[size - 1]
    for wrong in (old - 1, old + 1, old ^ 2):
        yield wrong, size, proof, old_root, root
    for wrong in (size * 2, size // 2):
        yield old, wrong, proof, old_root, root
    yield old, size, proof, b"WrongRoot", root
    yield old, size, proof, old_root, b"WrongRoot"
    yield old, size, proof, root, old_root
    yield old, size, [], old_root, root
    for path in _wrong_paths(proof, old_root, root):
        yield old, size, path, old_root, root


@pytest.mark.parametrize(
    ("old", "size", "old_root", "root", "proof"),
    [
        (0, 0, SOME_HASH, SOME_HASH, []),
        (0, 1, merkle.EMPTY_ROOT, SOME_HASH, []),
        (1, 1, SOME_HASH, merkle.EMPTY_ROOT, []),
        (1, 0, SOME_HASH, SOME_HASH, []),
        (2, 1, SOME_HASH, SOME_HASH, []),
        (1, 2, SOME_HASH, SOME_HASH, []),
        (1, 1, SOME_HASH, SOME_HASH, [SOME_HASH]),
    ],
)
def test_consistency_that_cannot_be(old: int, size: int, old_root: bytes, root: bytes, proof: Proof) -> None:
    with pytest.raises(IntegrityError):
        merkle.verify_consistency(old, size, proof, old_root, root)


def test_a_tree_of_one_leaf_is_its_leaf() -> None:
    leaf = merkle.leaf_hash(b"data")
    merkle.verify_inclusion(leaf, 0, 1, [], leaf)
    merkle.verify_consistency(1, 1, [], leaf, leaf)
    for wrong in (b"", SOME_HASH):
        with pytest.raises(IntegrityError):
            merkle.verify_inclusion(wrong, 0, 1, [], leaf)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 3), (5, 3)])
def test_proofs_of_what_is_not_there_are_not_made(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        merkle.inclusion_proof([SOME_HASH] * size, index)
    with pytest.raises(ValueError, match="proves"):
        merkle.consistency_proof([SOME_HASH] * size, size + 1)
    with pytest.raises(ValueError, match="proves"):
        merkle.consistency_proof([SOME_HASH] * size, 0)
