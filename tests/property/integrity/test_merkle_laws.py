"""Laws of Merkle trees: every proof of a true statement verifies, every tampered one is refused."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lethe.integrity.evidence import verify_evidence
from lethe.integrity.evidence.verify_evidence import EvidenceError
from lethe.integrity.log import merkle
from lethe.integrity.log.tiles import TreeTiles, edge_root, grow
from lethe.schemas.errors import IntegrityError

sizes = st.integers(1, 300)
hashes = st.binary(min_size=32, max_size=32)


def leaves(size: int) -> list[bytes]:
    return [sha256(n.to_bytes(4, "big")).digest() for n in range(size)]


def reference_root(tree: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.1, word for word."""
    if len(tree) == 1:
        return tree[0]
    k = 1
    while k * 2 < len(tree):
        k *= 2
    return sha256(b"\x01" + reference_root(tree[:k]) + reference_root(tree[k:])).digest()


@given(sizes)
def test_the_root_is_the_one_the_specification_defines(size: int) -> None:
    assert merkle.root(leaves(size)) == reference_root(leaves(size)) == verify_evidence._root(leaves(size))


@given(sizes, st.data())
def test_every_leaf_can_be_proven_and_no_other_in_its_place(size: int, data: st.DataObject) -> None:
    tree = leaves(size)
    index = data.draw(st.integers(0, size - 1))
    root, proof = merkle.root(tree), merkle.inclusion_proof(tree, index)
    merkle.verify_inclusion(tree[index], index, size, proof, root)
    verify_evidence._included(tree[index], index, size, proof, root, "proof")

    claim = tree[index], index, size, proof, root
    wrong_leaf = data.draw(hashes)
    wrong_index = data.draw(st.integers(-1, 2 * size))
    wrong_root = data.draw(hashes)
    lies = [
        (wrong_leaf, *claim[1:]),
        (claim[0], wrong_index, *claim[2:]),
        (*claim[:3], tampered(proof, data), root),
        (*claim[:4], wrong_root),
    ]
    for lie in lies:
        if lie != claim:
            with pytest.raises(IntegrityError):
                merkle.verify_inclusion(*lie)
            with pytest.raises(EvidenceError):
                verify_evidence._included(*lie, "proof")


@given(sizes, st.data())
def test_every_beginning_can_be_proven_and_no_other(size: int, data: st.DataObject) -> None:
    tree = leaves(size)
    old = data.draw(st.integers(1, size))
    roots = merkle.root(tree[:old]), merkle.root(tree)
    proof = merkle.consistency_proof(tree, old)
    merkle.verify_consistency(old, size, proof, *roots)

    claim = old, size, proof, *roots
    lies = [
        (old, size, tampered(proof, data), *roots),
        (old, size, proof, data.draw(hashes), roots[1]),
        (old, size, proof, roots[0], data.draw(hashes)),
        (data.draw(st.integers(0, size + 1)), size, proof, *roots),
    ]
    for lie in lies:
        if lie != claim:
            with pytest.raises(IntegrityError):
                merkle.verify_consistency(*lie)


def tampered(proof: list[bytes], data: st.DataObject) -> list[bytes]:
    """A proof with something changed, added, removed or exchanged."""
    wrong = list(proof)
    place = data.draw(st.integers(0, max(0, len(wrong) - 1)))
    match data.draw(st.sampled_from(["change", "add", "remove", "exchange", "shorten"])):
        case "change" if wrong:
            bit = data.draw(st.integers(0, 255))
            value = int.from_bytes(wrong[place], "big") ^ 1 << bit
            wrong[place] = value.to_bytes(32, "big")
        case "remove" if wrong:
            del wrong[place]
        case "exchange" if len(wrong) > 1:
            wrong[place], wrong[place - 1] = wrong[place - 1], wrong[place]
        case "shorten" if wrong:
            wrong[place] = wrong[place][:-1]
        case _:
            wrong.insert(place, data.draw(hashes))
    return wrong


@settings(max_examples=40)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=6), st.data())
def test_tiles_hold_the_same_tree_however_it_grew(steps: list[int], data: st.DataObject) -> None:
    tree = leaves(sum(steps))
    store: dict[str, bytes] = {}
    edge: dict[int, list[bytes]] = {}
    size = 0
    for step in steps:
        for path, tile in grow(size, edge, tree[size : size + step]):
            assert store.setdefault(path, tile) == tile
        size += step
        assert edge_root(edge) == merkle.root(tree[:size])
    at_once: dict[int, list[bytes]] = {}
    assert set(grow(0, at_once, tree)) <= set(store.items())
    assert at_once == {level: part for level, part in edge.items() if part}

    tiles = TreeTiles(store.get, size, merkle.root(tree))
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    assert tiles.inclusion_proof(index) == merkle.inclusion_proof(tree, index)
    assert tiles.consistency_proof(old) == merkle.consistency_proof(tree, old)
    assert tiles.root_at(old) == merkle.root(tree[:old])


@settings(max_examples=40)
@given(st.integers(1, 70_000), st.data())
def test_no_altered_tile_is_ever_read(size: int, data: st.DataObject) -> None:
    assume(size < 2000 or size % 7 == 0)
    tree = leaves(size)
    edge: dict[int, list[bytes]] = {}
    store = dict(grow(0, edge, tree))
    path = data.draw(st.sampled_from(sorted(store)))
    damaged = bytearray(store[path])
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    store[path] = bytes(damaged)
    with pytest.raises(IntegrityError):
        read_all(store, size, edge_root(edge))


def read_all(store: dict[str, bytes], size: int, root: bytes) -> None:
    tiles = TreeTiles(store.get, size, root)
    for number in range(-(-size // 256)):
        tiles.tile(0, number)
