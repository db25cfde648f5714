"""Merkle trees as RFC 9162, section 2.1, defines them (the same as RFC 6962), over SHA-256.

A tree is a sequence of 32-byte leaf hashes. Proofs are lists of 32-byte hashes, from the leaf's side to the
root's. Verification raises `IntegrityError`; it never returns a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

from lethe.integrity.rows import compiled
from lethe.schemas.errors import IntegrityError

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()
"""The root of the tree without leaves (RFC 9162, section 2.1.1)."""

Span = tuple[int, int]
"""Leaves `start` to `end`, `end` excluded."""


def leaf_hash(data: bytes) -> bytes:
    """Return SHA-256(0x00 ‖ data)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 ‖ left ‖ right)."""
    return sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash of those leaves, in that order."""
    level = leaf_hashes or [EMPTY_ROOT]
    return _climbed(level, len(level).bit_length())[0]


def subtree_roots(leaf_hashes: Sequence[bytes], height: int) -> list[bytes]:
    """Return the roots of the subtrees of 2 ** `height` leaves each, the last one of those that are left.

    `root` of them is that of all the leaves.
    """
    return _climbed(leaf_hashes, height)


def _climbed(level: Sequence[bytes], height: int) -> list[bytes]:
    """Compute the nodes `height` levels above these, at least one if there are any."""
    if len(level) < 2:
        return list(level)
    found = compiled.above(level, height)
    if found is not None:
        return found
    for _ in range(height):
        if len(level) > 1:
            level = _above(level)
    return list(level)


def _above(level: Sequence[bytes]) -> list[bytes]:
    """Compute the nodes above a level: a lone last one moves up unhashed, the split at the largest power of two."""
    pairs = iter(level)
    above = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
    return above + list(level[len(level) & ~1 :])


def split(size: int) -> int:
    """Return the largest power of two smaller than `size` (which is at least 2): how many leaves go left."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_spans(index: int, size: int) -> list[Span]:
    """Return the subtrees whose hashes prove leaf `index` of `size` (RFC 9162, section 2.1.3.1), from the leaf up.

    Raises `ValueError` when there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    spans: list[Span] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + split(high - low)
        if index < middle:
            spans.append((middle, high))
            high = middle
        else:
            spans.append((low, middle))
            low = middle
    return spans[::-1]


def consistency_spans(old_size: int, size: int) -> list[Span]:
    """Return the subtrees whose hashes prove that the first `old_size` of `size` leaves are the old tree (2.1.4.1).

    Empty for equal sizes. Raises `ValueError` for an old tree that is empty or larger: nothing can be proven
    of it.
    """
    if not 0 < old_size <= size:
        raise ValueError(f"no tree of {size} leaves proves anything of one of {old_size}")
    spans: list[Span] = []
    low, high = 0, size
    while old_size != high:
        middle = low + split(high - low)
        if old_size <= middle:
            spans.append((middle, high))
            high = middle
        else:
            spans.append((low, middle))
            low = middle
    # The old tree itself need not be sent when it is a complete left subtree: the verifier has its root.
    return ([(low, high)] if low else []) + spans[::-1]


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Prove that leaf `index` is in the tree; raises `ValueError` when it is not."""
    return _hashes(inclusion_spans(index, len(leaf_hashes)), lambda low, high: root(leaf_hashes[low:high]))


def consistency_proof(leaf_hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """Prove that the tree grew from its first `old_size` leaves; raises `ValueError` for impossible sizes."""
    return _hashes(
        consistency_spans(old_size, len(leaf_hashes)), lambda low, high: root(leaf_hashes[low:high])
    )


def _hashes(spans: Iterable[Span], subtree: Callable[[int, int], bytes]) -> list[bytes]:
    return [subtree(low, high) for low, high in spans]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected_root: bytes
) -> None:
    """Check an inclusion proof (RFC 9162, section 2.1.3.2).

    `leaf` is the leaf's hash. Raises `IntegrityError` unless the proof leads from it to `expected_root`, with
    neither a hash too few nor one too many.
    """
    if not 0 <= index < size:
        raise IntegrityError(f"inclusion proof: a tree of {size} leaves has no leaf {index}")
    _check_sizes([leaf, *proof, expected_root], "inclusion proof")
    fn, sn, node = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            raise IntegrityError("inclusion proof: it is longer than the tree is high")
        if fn & 1 or fn == sn:
            node = node_hash(sibling, node)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            node = node_hash(node, sibling)
        fn >>= 1
        sn >>= 1
    if sn:
        raise IntegrityError("inclusion proof: it ends before the root")
    if node != expected_root:
        raise IntegrityError("inclusion proof: it leads to another root")


def verify_consistency(
    old_size: int, size: int, proof: Sequence[bytes], old_root: bytes, expected_root: bytes
) -> None:
    """Check a consistency proof (RFC 9162, section 2.1.4.2).

    Raises `IntegrityError` unless the tree of `size` leaves begins with the tree of `old_size` leaves. A
    proof from an empty tree is refused: it says nothing.
    """
    if not 0 < old_size <= size:
        raise IntegrityError(f"consistency proof: no tree of {size} leaves extends one of {old_size}")
    _check_sizes([*proof, old_root, expected_root], "consistency proof")
    if old_size == size:
        if proof:
            raise IntegrityError("consistency proof: two trees of one size need no proof")
        if old_root != expected_root:
            raise IntegrityError(f"consistency proof: two different trees of {size} leaves (a split view)")
        return
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise IntegrityError("consistency proof: it is empty")
    fn, sn = old_size - 1, size - 1
    while fn & 1:
        fn >>= 1
        sn >>= 1
    old = new = path[0]
    for sibling in path[1:]:
        if sn == 0:
            raise IntegrityError("consistency proof: it is longer than the tree is high")
        if fn & 1 or fn == sn:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            new = node_hash(new, sibling)
        fn >>= 1
        sn >>= 1
    if sn:
        raise IntegrityError("consistency proof: it ends before the root")
    if old != old_root:
        raise IntegrityError("consistency proof: the old tree is not a beginning of the new one")
    if new != expected_root:
        raise IntegrityError("consistency proof: it leads to another root")


def _check_sizes(hashes: Iterable[bytes], what: str) -> None:
    if any(len(h) != HASH_SIZE for h in hashes):
        raise IntegrityError(f"{what}: a hash is not {HASH_SIZE} bytes long")
