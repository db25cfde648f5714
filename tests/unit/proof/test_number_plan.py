"""No number leads to an integrity hash once the month's key is gone: a part of the plan here, all of it in
`make number-plan`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from number_plan import BLOCKS, CONTROL, IN_BLOCK, Case, block_of, make_case, numbers, search

from lethe.integrity.rows.hashes import integrity_hash

NUMBER = b"923335550142"


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return make_case(tmp_path_factory.mktemp("plan"), NUMBER)


def test_the_blocks_are_the_whole_plan(case: Case) -> None:
    assert BLOCKS * IN_BLOCK == 10**9
    ends = [(next(iter(numbers(b))), list(numbers(b))[-1]) for b in (0, 1, BLOCKS - 1)]
    assert ends[0] == (b"923000000000", b"923000099999")
    assert ends[1][0] == b"923000100000"
    assert ends[2][1] == b"923999999999"
    assert NUMBER in set(numbers(block_of(NUMBER)))


def test_with_the_salt_the_search_finds_the_number(case: Case) -> None:
    assert search(case, CONTROL, block_of(NUMBER)) == [NUMBER]
    salt = case.ways[CONTROL][-16:]
    assert integrity_hash(salt, case.head + NUMBER + case.tail) == case.target, "it searches what is hashed"


def test_without_it_no_number_is_found(case: Case) -> None:
    """One block in ten thousand, the one with the number in it, in every way: 600,000 tries."""
    assert {way: search(case, way, block_of(NUMBER)) for way in case.ways if way != CONTROL} == {
        way: [] for way in case.ways if way != CONTROL
    }


def test_what_the_salt_is_made_of_is_in_no_file(tmp_path: Path) -> None:
    case = make_case(tmp_path, NUMBER)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(files) > 10
    for secret in case.secrets:
        assert not [
            p.name for p in files if secret in (data := p.read_bytes()) or secret.hex().encode() in data
        ]
