"""A commitment is to the rows in scope, in order, and to nothing else."""

from __future__ import annotations

from functools import reduce
from hashlib import sha3_512
from operator import xor

import pytest
from integrity_samples import row, rows, table

from lethe.integrity.log import merkle
from lethe.integrity.log.commitment import NOTHING, Commitment, commit_rows
from lethe.integrity.log.groups import groups_size, prove
from lethe.integrity.log.leaves import commit_each_with_leaves, commit_with_leaves, decode, digest
from lethe.integrity.rows.canonical_rows import encode
from lethe.schemas.errors import IntegrityError, LetheError
from lethe.schemas.retention.calendar import Month


def test_it_holds_count_root_and_second_digest_of_the_canonical_rows() -> None:
    forms = [encode(table([value]))[0] for value in rows(11)]
    expected = Commitment(
        11, merkle.root([merkle.leaf_hash(form) for form in forms]), sha3_512(b"".join(forms)).digest()
    )
    assert commit_rows(table(rows(11))) == expected


def test_the_order_in_which_rows_come_does_not_matter() -> None:
    envelope = [row(5), *(row(6, index) for index in (2, 0, 1)), row(7)]
    assert commit_rows(table(reversed(envelope))) == commit_rows(table(envelope))
    assert commit_rows(table(envelope)) == commit_rows(
        table(sorted(envelope, key=lambda r: (r["offset"], r["index"] or 0)))
    )


def test_rows_outside_the_scope_and_the_month_column_are_left_aside() -> None:
    mixed = [row(n, integrity_hash=None) if n % 3 else row(n) for n in range(12)]
    scoped = [row(n) for n in range(0, 12, 3)]
    assert commit_rows(table(mixed)) == commit_rows(table(scoped).drop_columns(["month"]))


def test_no_row_in_scope_is_the_empty_tree_and_the_digest_of_nothing() -> None:
    nothing = Commitment(0, merkle.EMPTY_ROOT, sha3_512(b"").digest())
    assert nothing == NOTHING
    assert commit_rows(table([])) == nothing
    assert commit_rows(table([row(1, integrity_hash=None)])) == nothing
    assert commit_with_leaves(table([]), 0) == (nothing, b"", None)


@pytest.mark.parametrize("chunk", [1, 7, 40, 1000])
@pytest.mark.parametrize("sizes", [(), (0,), (40,), (0, 1, 0, 39, 0), (33, 65, 2), (7, 7, 7), (0, 0)])
def test_partitions_together_are_each_alone(
    sizes: tuple[int, ...], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = []
    for partition, size in enumerate(sizes):
        mixed = [row(n) | {"partition": partition} for n in range(10 * partition, 10 * partition + size)]
        mixed += [row(10**6, integrity_hash=None) | {"partition": partition}]
        tables.append((table(mixed), partition))
    alone = [commit_with_leaves(*one) for one in tables]
    monkeypatch.setattr("lethe.integrity.rows.canonical_rows.CHUNK_ROWS", chunk)
    assert commit_each_with_leaves(tables) == alone
    assert [made[0].count for made in alone] == list(sizes)


def test_one_position_twice_is_refused() -> None:
    with pytest.raises(LetheError, match="twice"):
        commit_rows(table([row(1), row(2), row(1)]))


@pytest.mark.parametrize("change", [{"stream": "other"}, {"partition": 4}])
def test_rows_of_several_partitions_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(LetheError, match="more than one"):
        commit_rows(table([row(1), row(2) | change]))


def test_the_leaf_file_names_every_row_with_its_month_and_hash() -> None:
    values = [row(1000), row(1001, 0), row(1001, 300), row(5000), row(2_500_000)]
    commitment, file, months = commit_with_leaves(table(values), 900)
    found = decode(file, 900)
    assert file[0] == 1
    assert found.whole
    assert [(one.offset, one.index) for one in found.rows] == [(v["offset"], v["index"]) for v in values]
    assert [str(one.month) for one in found.rows] == [v["month"] for v in values]
    assert [group.root for group in found.groups] == encode(table(values)).leaf_hashes()
    assert found.root() == commitment.root
    assert months == (Month(2026, 1), Month(2026, 2))


def test_months_that_go_back_and_forth_are_kept() -> None:
    times = [row(n)["event_time"].replace(year=2020 + n % 7, month=1 + n % 12) for n in range(50)]
    values = [row(n, event_time=time) for n, time in enumerate(times)]
    _, file, months = commit_with_leaves(table(values), 0)
    assert [str(one.month) for one in decode(file, 0).rows] == [value["month"] for value in values]
    assert [str(month) for month in months or ()] == [
        min(v["month"] for v in values),
        max(v["month"] for v in values),
    ]


@pytest.mark.parametrize("count", [1, 2, 31, 32, 33, 64, 65, 96])
def test_rows_of_one_month_are_in_the_leaf_file_by_the_group(count: int) -> None:
    values = [row(n, n if n % 3 else None) for n in range(700, 700 + count)]
    leaves = encode(table(values)).leaf_hashes()
    commitment, file, _ = commit_with_leaves(table(values), 690)
    assert file[0] == 2
    found = decode(file, 690)
    assert [(one.offset, one.index) for one in found.rows] == [(v["offset"], v["index"]) for v in values]
    assert {one.month for one in found.rows} == {Month(2026, 1)}
    assert found.root() == commitment.root == merkle.root(leaves)
    assert [(group.first, group.end) for group in found.groups] == [
        (n, min(n + 32, count)) for n in range(0, count, 32)
    ]
    for number, group in enumerate(found.groups):
        mine = leaves[group.first : group.end]
        assert group.root == merkle.root(mine)
        at = len(file) - groups_size(count) + 64 * number
        parity = file[at + 32 : at + 64] or group.root  # of one row there is none
        assert int.from_bytes(parity) == reduce(xor, map(int.from_bytes, mine))
        for place in range(group.size):
            proof = prove(found.groups, number, mine, place)
            assert proof == merkle.inclusion_proof(leaves, group.first + place)


def test_the_bytes_of_a_leaf_file_are_those_of_the_specification() -> None:
    values = [row(70, 300), row(71), row(200)]
    leaves = encode(table(values)).leaf_hashes()
    parity = reduce(xor, map(int.from_bytes, leaves)).to_bytes(32)
    positions = b"\x15\xac\x02" + b"\x02" + b"\x82\x02"  # 10 * 2 + 1 and 300; 1 * 2; 129 * 2
    month = (2026 * 12).to_bytes(4, "little")
    _, file, _ = commit_with_leaves(table(values), 60)
    assert file == b"\x02" + month + b"\x03" + positions + merkle.root(leaves) + parity
    _, alone, _ = commit_with_leaves(table(values[:1]), 60)
    assert alone == b"\x02" + month + b"\x01" + b"\x15\xac\x02" + leaves[0]
    _, whole, _ = commit_with_leaves(table(values[:1]), 60, whole=True)
    assert whole == b"\x01" + month + b"\x0a\xad\x02\x00" + leaves[0]


def test_the_leaf_file_takes_no_more_than_the_budget() -> None:
    _, file, _ = commit_with_leaves(table(rows(1000, 10**9)), 10**9)
    assert len(file) <= 3.1 * 1000
    assert len(digest(file)) == 32
    _, file, _ = commit_with_leaves(table(rows(1000, 10**9)), 10**9, whole=True)
    assert len(file) <= 36 * 1000


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 20, 40, 42])
def test_a_leaf_file_that_is_cut_short_is_refused(size: int) -> None:
    _, file, _ = commit_with_leaves(table(rows(2)), 0, whole=True)
    assert len(file) == 5 + 2 * 35
    if size in (5, 40):
        return  # cut between rows: the digest in the log entry tells
    with pytest.raises(IntegrityError, match="leaf file"):
        decode(file[:size], 0)


@pytest.mark.parametrize("count", [1, 2, 33])
def test_a_leaf_file_in_groups_is_read_as_a_whole_or_not_at_all(count: int) -> None:
    _, file, _ = commit_with_leaves(table(rows(count)), 0)
    assert decode(file, 0)
    for damaged in (*(file[:size] for size in range(1, len(file))), file + b"\x00", file + bytes(32)):
        with pytest.raises(IntegrityError, match="leaf file"):
            decode(damaged, 0)


@pytest.mark.parametrize(
    ("number", "rows_and_positions", "first", "reason"),
    [
        (24_312, b"\x00", 0, "cannot hold as many rows"),
        (24_312, b"\xff\xff\xff\xff\xff\x0f" + bytes(64), 0, "cannot hold as many rows"),
        (24_312, b"\xff" * 11 + bytes(64), 0, "cut short"),
        (11, b"\x01\x00", 0, "month"),
        (120_000, b"\x01\x00", 0, "month"),
        (24_312, b"\x02\x02\x00", 0, "do not ascend"),
        (24_312, b"\x02\x03\x05\x01\x05", 0, "do not ascend"),
        (24_312, b"\x02\x03\x05\x01\x04", 0, "do not ascend"),
        (24_312, b"\x02\x03\x05\x00", 0, "do not ascend"),
        (24_312, b"\x01\x02", (1 << 63) - 1, "or are none"),
        (24_312, b"\x01\x01\x80\x80\x80\x80\x08", 0, "or are none"),
    ],
)
def test_a_leaf_file_that_makes_no_sense_is_refused(
    number: int, rows_and_positions: bytes, first: int, reason: str
) -> None:
    data = b"\x02" + number.to_bytes(4, "little") + rows_and_positions + bytes(64)
    with pytest.raises(IntegrityError, match=reason):
        decode(data, first)
