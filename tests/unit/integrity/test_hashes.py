"""The salted hash of an original: fast for a column, and worthless to who has no key."""

from __future__ import annotations

import hmac
from hashlib import sha256

import pyarrow as pa
import pytest
from integrity_samples import SALT_KEY, Archive, name, original, row, rows, table

from lethe.integrity.log.leaves import decode
from lethe.integrity.rows.canonical_rows import encode
from lethe.integrity.rows.hashes import DOMAIN, integrity_hash, integrity_hashes, salt


def test_a_column_is_hashed_as_each_record_by_itself() -> None:
    positions = [name(n) for n in range(50)]
    originals = [original(n) for n in range(50)]
    expected = [integrity_hash(salt(SALT_KEY, p), o) for p, o in zip(positions, originals, strict=True)]
    found = integrity_hashes(SALT_KEY, positions, originals)
    assert found.type == pa.binary(32)
    assert found.to_pylist() == expected


@pytest.mark.parametrize("size", [0, 1, 32, 64, 65, 200])
def test_the_salt_is_hmac_sha256_whatever_the_length_of_the_key(size: int) -> None:
    key = bytes(n % 251 for n in range(size))
    expected = hmac.new(key, b"s/0/1", "sha256").digest()[:16]
    assert salt(key, "s/0/1") == expected
    assert integrity_hashes(key, ["s/0/1"], [b"x"]).to_pylist() == [sha256(DOMAIN + expected + b"x").digest()]


def test_the_hash_depends_on_position_key_and_original() -> None:
    hashes = {
        integrity_hash(salt(key, position), data)
        for key in (SALT_KEY, bytes(32))
        for position in (name(1), name(2))
        for data in (b"a", b"b")
    }
    assert len(hashes) == 8


def test_as_many_positions_as_originals_are_needed() -> None:
    with pytest.raises(ValueError, match="zip"):
        integrity_hashes(SALT_KEY, [name(1)], [])


@pytest.mark.parametrize("whole", [False, True])
def test_nobody_can_match_a_hash_to_a_number_once_the_key_is_gone(whole: bool) -> None:
    """The attacker has archive, log, leaf file, the form of the original and every number there is."""
    victim = 4_711
    archive = Archive.of(rows(5, victim - 2), whole=whole)
    (commit,) = archive.commits
    groups = decode(commit.leaf_file, commit.entry.first_offset).groups
    said = {group.root for group in groups} | ({commit.leaf_file[-32:]} if not whole else set())  # the parity
    assert len(said) == (5 if whole else 2)
    public = archive.rows[2]
    assert public["offset"] == victim
    targets = {public["integrity_hash"], *said, bytes(commit.entry), commit.entry.commitment.root}
    template = original(victim)
    number = b"9230012%05d" % victim
    assert template.count(number) == 1

    guessed_salts = [
        b"",
        bytes(16),
        salt(b"", name(victim)),
        salt(bytes(32), name(victim)),
        public["integrity_hash"][:16],
        *(one[:16] for one in said),
        commit.entry.commitment.root[:16],
    ]
    found = []
    for subscriber in range(5_000):
        guess = template.replace(number, b"9230012%05d" % subscriber)
        hashes = {sha256(guess).digest(), sha256(b"9230012%05d" % subscriber).digest()}
        hashes |= {integrity_hash(guessed, guess) for guessed in guessed_salts}
        found += [subscriber] if hashes & targets else []
    assert found == []

    # The same search with the key finds the number at once: it is the key alone that stands in the way.
    true_salt = salt(SALT_KEY, name(victim))
    numbers = [
        n
        for n in range(5_000)
        if integrity_hash(true_salt, template.replace(number, b"9230012%05d" % n)) in targets
    ]
    assert numbers == [victim]


def test_a_leaf_hash_is_of_a_row_that_holds_the_salted_hash() -> None:
    with_hash = encode(table([row(1)])).leaf_hashes()
    other_salt = encode(table([row(1, integrity_hash=bytes(32))])).leaf_hashes()
    assert with_hash != other_salt
