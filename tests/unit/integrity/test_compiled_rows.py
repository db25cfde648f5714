"""Compiled code makes the forms and hashes that the general way makes, and refuses what does not fit."""

from __future__ import annotations

from array import array
from hashlib import sha3_512, sha256
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from integrity_samples import row, rows, table

from lethe.integrity.log import merkle, outside
from lethe.integrity.rows import compiled
from lethe.integrity.rows.canonical_rows import EncodedRows, encode
from lethe.integrity.rows.hashes import sha3_512_each
from lethe.schemas.compiled import native

pytestmark = pytest.mark.usefixtures("reader")
code = native()
NUMBERS = memoryview(np.arange(4, dtype=np.int64)).cast("B")
ENDS = array("i", [0, 1, 3])


def general(given: pa.Table, monkeypatch: pytest.MonkeyPatch) -> EncodedRows:
    with monkeypatch.context() as patched:
        patched.setattr(compiled, "_code", None)
        return encode(given)


def samples(count: int) -> pa.Table:
    r = Random(count)
    lengths = (0, 1, 14, 15, 16, 17, 31, 32, 253, 254, 255, 256, 4000)
    made = []
    for n in range(count):
        value = row(n, r.choice((None, 0, 2**31 - 1)))
        for name in ("status", "error", "account", "network", "redacted"):
            value[name] = "é" * (size := r.choice(lengths)) if r.random() < 0.7 else None
            value[name] = value[name] and value[name][:size]
        for name in ("parts", "permanent_error", "price", "done_time", "integrity_hash", "country"):
            if r.random() < 0.4:
                value[name] = None
        made.append(value)
    return table(made)


@pytest.mark.parametrize("count", [1, 2, 127, 128, 129, 500])
def test_forms_are_those_of_the_general_way(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = samples(count)
    coded = pa.table(
        [c.dictionary_encode() if pa.types.is_string(c.type) else c for c in plain.columns],
        names=plain.column_names,
    )
    for given in (plain, coded, plain.slice(count // 3), coded.slice(count // 3, count // 2 + 1)):
        made, expected = encode(given), general(given, monkeypatch)
        assert made.data == expected.data
        assert list(made.bounds) == list(expected.bounds)


def test_a_slice_of_a_dictionary_is_read_from_where_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    words = pa.array(["a", "bb", "", "x" * 300, "y"]).slice(1, 3)
    codes = pa.array([9, 0, 1, 2, None, 1], pa.int16()).slice(1)
    plain = table(rows(5))
    at = plain.column_names.index("account")
    given = plain.set_column(at, "account", pa.DictionaryArray.from_arrays(codes, words))
    assert encode(given).data == general(given, monkeypatch).data
    assert b"x" * 300 in encode(given)[2]


def test_hashes_of_any_length_are_those_of_hashlib() -> None:
    data = Random(1).randbytes(50_000)
    bounds = [0, *(n * (n + 1) // 2 for n in range(1, 300))]
    for group in (1, 2, 32, 400):
        expected = [
            sha256(b"\x00" + data[bounds[n] : bounds[min(n + group, 299)]]).digest()
            for n in range(0, 299, group)
        ]
        assert EncodedRows(data, bounds).hashes(0, 299, group) == expected
        assert compiled.hashes(0, data, bounds, group) in (b"".join(expected), None)
    assert EncodedRows(data, bounds).hashes(5, 7, 1) == EncodedRows(data, bounds).leaf_hashes()[5:7]


def test_texts_hashed_side_by_side_have_the_digests_of_hashlib() -> None:
    """Of any number and length, in any pieces: blocks are of 72 bytes, 4 or 8 texts are under way at a time."""
    random = Random(2)
    sizes = (0, 1, 71, 72, 73, 143, 144, 145, 500, 9_000)
    for count in [*range(20), 60]:
        texts = [
            [random.randbytes(random.choice(sizes)) for _ in range(random.randrange(4))] for _ in range(count)
        ]
        expected = [sha3_512(b"".join(text)).digest() for text in texts]
        assert sha3_512_each([[memoryview(piece) for piece in text] for text in texts]) == expected
        assert compiled.sha3_512(texts) in (expected, None)


@pytest.mark.parametrize(
    ("pieces", "counts"),
    [([b"a"], [2]), ([b"a", b"b"], [3, -1]), ([b"a"], [2**31 - 1, 2**31 - 1]), ([], [1]), ([b"a"], [-1])],
)
def test_counts_that_are_not_those_of_the_pieces_are_refused(pieces: list[bytes], counts: list[int]) -> None:
    with pytest.raises((ValueError, RuntimeError)):
        code.sha3_512(pieces, array("i", counts))
    with pytest.raises((TypeError, RuntimeError)):
        code.sha3_512([b"a", None], array("i", [2]))


def test_hashes_that_lie_together_are_those_apart() -> None:
    leaves = encode(samples(70)).leaf_hashes()
    together = compiled.Hashes(b"".join(leaves))
    assert list(together) == leaves
    assert list(together[3:40]) == leaves[3:40]
    assert list(together[40:3]) == []
    assert together[69] == leaves[69]
    assert [merkle.root(together[:n]) for n in range(70)] == [merkle.root(leaves[:n]) for n in range(70)]
    with pytest.raises(IndexError):
        together[70]


def test_a_processor_without_instructions_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encode(samples(150))
    leaves = whole.leaf_hashes()
    groups = outside.Forms([whole]).groups(3, 150)
    roots = [merkle.root(leaves[:n]) for n in range(1, 70)]
    levels = [merkle.subtree_roots(leaves[:n], height) for n in (1, 2, 33, 150) for height in (0, 1, 5, 9)]
    texts = [[b"a", b"b"], [b"c" * 100]]
    digests = sha3_512_each(texts)
    monkeypatch.setattr(compiled, "_sha", None)
    monkeypatch.setattr(compiled, "_sha3", None)
    assert sha3_512_each(texts) == digests
    assert whole.leaf_hashes() == leaves
    assert outside.Forms([whole]).groups(3, 150) == groups
    assert [merkle.root(leaves[:n]) for n in range(1, 70)] == roots
    assert [
        merkle.subtree_roots(leaves[:n], height) for n in (1, 2, 33, 150) for height in (0, 1, 5, 9)
    ] == levels


def test_groups_are_the_same_however_rows_lie_in_chunks() -> None:
    given = samples(200)
    whole = outside.Forms([encode(given)])
    for size in (1, 7, 32, 50):
        cut = outside.Forms([encode(given.slice(at, size)) for at in range(0, 200, size)])
        for first, end in ((0, 200), (5, 5), (5, 36), (31, 33), (40, 199)):
            assert cut.groups(first, end) == whole.groups(first, end)


def test_what_has_no_form_has_no_place_in_a_tree_of_others() -> None:
    leaves = [b"", *encode(table(rows(3))).leaf_hashes()]
    assert compiled.above(leaves, 9) is None
    assert len(merkle.root(leaves)) == 32


def test_more_than_one_call_can_hold_goes_the_general_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(*_: Any) -> None:
        raise OverflowError

    given, expected = table(rows(3)), encode(table(rows(3))).data
    monkeypatch.setattr(compiled, "_code", type("Full", (), {"rows": staticmethod(too_much)}))
    assert encode(given).data == expected


REFUSED: dict[str, list[Any]] = {
    "no tuple": [[7]],
    "too wide": [[(1, 33, NUMBERS, None, None, None, 0)]],
    "of no width": [[(1, -1, NUMBERS, None, None, None, 0)]],
    "before the first": [[(1, 8, NUMBERS, None, None, None, -1)]],
    "beyond the last": [[(1, 8, NUMBERS, None, None, None, 3)]],
    "beyond validity": [[(1, 1, NUMBERS, None, None, b"\xff", 7)]],
    "texts without ends": [[(1, 0, b"abc", None, None, None, 0)]],
    "beyond the ends": [[(1, 0, b"abc", ENDS, None, None, 1)]],
    "ends that fall": [[(1, 0, b"abc", array("i", [0, 2, 1]), None, None, 0)]],
    "ends beyond the texts": [[(1, 0, b"abc", array("i", [0, 1, 4]), None, None, 0)]],
    "ends before the texts": [[(1, 0, b"abc", array("i", [-1, 1, 2]), None, None, 0)]],
    "a code of no text": [[(1, 0, b"abc", ENDS, array("i", [0, 2]), None, 0)]],
    "a code below": [[(1, 0, b"abc", ENDS, array("i", [0, -1]), None, 0)]],
    "too few codes": [[(1, 0, b"abc", ENDS, array("i", [0]), None, 0)]],
    "too many": [[(1, 8, NUMBERS, None, None, None, 0)] * 257],
}


@pytest.mark.parametrize("name", REFUSED)
def test_fields_that_do_not_fit_are_refused(name: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        code.rows(*REFUSED[name], 2)


@pytest.mark.parametrize(
    ("bounds", "group"),
    [([0, 4], 1), ([2, 1], 1), ([-1, 1], 1), ([0, 1], 0), ([0, 1], -1), ([0, 1], 2**31)],
)
def test_bounds_that_do_not_fit_are_refused(bounds: list[int], group: int) -> None:
    if not code.HASHES:
        with pytest.raises(RuntimeError):
            code.digests(0, b"abc", array("i", bounds), group)
        return
    with pytest.raises(ValueError, match="bounds"):
        code.digests(0, b"abc", array("i", bounds), group)
    for wrong in (b"", bytes(31)):
        with pytest.raises(ValueError, match="no hashes"):
            code.above(wrong, 1)
