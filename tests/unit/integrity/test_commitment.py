"""A commitment is to the rows in scope, in order, and to nothing else."""

from __future__ import annotations

from hashlib import sha3_512

import pytest
from integrity_samples import row, rows, table

from integrity import merkle
from integrity.commitment import NOTHING, Commitment, commit_rows
from integrity.leaves import commit_with_leaves, decode, digest
from integrity.rows import encode
from schemas.errors import IntegrityError, LetheError
from schemas.retention import Month


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
    found = list(decode(file, 900))
    assert [(leaf.offset, leaf.index) for leaf in found] == [(v["offset"], v["index"]) for v in values]
    assert [str(leaf.month) for leaf in found] == [v["month"] for v in values]
    assert merkle.root([leaf.hash for leaf in found]) == commitment.root
    assert months == (Month(2026, 1), Month(2026, 2))


def test_months_that_go_back_and_forth_are_kept() -> None:
    times = [row(n)["event_time"].replace(year=2020 + n % 7, month=1 + n % 12) for n in range(50)]
    values = [row(n, event_time=time) for n, time in enumerate(times)]
    _, file, months = commit_with_leaves(table(values), 0)
    assert [str(leaf.month) for leaf in decode(file, 0)] == [value["month"] for value in values]
    assert [str(month) for month in months or ()] == [
        min(v["month"] for v in values),
        max(v["month"] for v in values),
    ]


def test_the_leaf_file_takes_no_more_than_the_budget() -> None:
    _, file, _ = commit_with_leaves(table(rows(1000, 10**9)), 10**9)
    assert len(file) <= 36 * 1000
    assert len(digest(file)) == 32


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 20, 40, 42])
def test_a_leaf_file_that_is_cut_short_is_refused(size: int) -> None:
    _, file, _ = commit_with_leaves(table(rows(2)), 0)
    assert len(file) == 5 + 2 * 35
    if size in (5, 40):
        return  # cut between rows: the digest in the log entry tells
    with pytest.raises(IntegrityError, match="leaf file"):
        list(decode(file[:size], 0))
