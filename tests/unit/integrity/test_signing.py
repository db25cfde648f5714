"""Signing keys: two algorithms side by side, and a chain that leads from any key to every other."""

from __future__ import annotations

import json

import pytest
from integrity_samples import NAME, NOW

from lethe.integrity.log.checkpoint import Checkpoint
from lethe.integrity.log.note import Note, VerifierKey, sign_lines
from lethe.integrity.log.signing import KeyHistory, Signer
from lethe.schemas.errors import ConfigurationError, IntegrityError

CHECKPOINT = Checkpoint(f"{NAME}/sms/0", 3, bytes(range(32)))


def notes(signer: Signer) -> list[bytes]:
    return [bytes(note) for note in signer.history.notes]


@pytest.fixture(scope="module")
def first() -> Signer:
    return Signer.generate(NAME, NOW)


@pytest.fixture(scope="module")
def third(first: Signer) -> Signer:
    return first.rotate(NOW + 1).rotate(NOW + 2)


def test_a_checkpoint_is_signed_with_both_keys(first: Signer) -> None:
    note = first.sign(CHECKPOINT, NOW)
    assert first.history.verify(Note.parse(bytes(note))) == first.history.sets[0]
    assert [len(line.value) for line in note.signatures] == [64, 8 + 2420]
    assert note.signatures[1].time == NOW


@pytest.mark.parametrize("dropped", [0, 1])
def test_one_of_the_two_signatures_is_not_enough(first: Signer, dropped: int) -> None:
    note = first.sign(CHECKPOINT, NOW)
    rest = sign_lines(note.text, [note.signatures[1 - dropped]])
    with pytest.raises(IntegrityError, match=r"missing|none of the keys"):
        first.history.verify(rest)


def test_a_signature_is_of_one_checkpoint_alone(first: Signer) -> None:
    note = first.sign(CHECKPOINT, NOW)
    for other in (
        Checkpoint(f"{NAME}/sms/1", 3, CHECKPOINT.root),
        Checkpoint(CHECKPOINT.origin, 4, CHECKPOINT.root),
        Checkpoint(CHECKPOINT.origin, 3, bytes(32)),
    ):
        with pytest.raises(IntegrityError, match="does not hold"):
            first.history.verify(Note(str(other), note.signatures))


def test_verifier_keys_are_printed_and_read_back(first: Signer) -> None:
    for key in first.history.sets[0].keys:
        assert VerifierKey.parse(str(key)) == key


def test_the_key_file_holds_everything_and_repr_shows_nothing(third: Signer) -> None:
    read = Signer.from_bytes(third.to_bytes())
    assert read.history == third.history
    assert read.history.verify(read.sign(CHECKPOINT, NOW)) == third.history.sets[2]
    assert repr(third) == f"Signer(name={NAME!r})"


def test_a_damaged_key_file_is_refused_without_showing_it(third: Signer, first: Signer) -> None:
    content = json.loads(third.to_bytes())
    damaged = [
        b"",
        b"[]",
        b"{}",
        third.to_bytes()[:-40],
        *(json.dumps({k: v for k, v in content.items() if k != name}).encode() for name in content),
        json.dumps(content | {"ed25519": json.loads(first.to_bytes())["ed25519"]}).encode(),
        json.dumps(content | {"ml_dsa_44": "AAAA"}).encode(),
        json.dumps(content | {"history": content["history"][:2]}).encode(),
        json.dumps(content | {"history": 7}).encode(),
        json.dumps(content | {"name": "other"}).encode(),
    ]
    for data in damaged:
        with pytest.raises(ConfigurationError, match="damaged") as refused:
            Signer.from_bytes(data)
        assert content["ed25519"] not in str(refused.value)
        assert refused.value.__suppress_context__


@pytest.mark.parametrize("name", ["", "with space", "a+b", "a\tb", "x" * 101, "é" * 51])
def test_names_that_keys_cannot_have(name: str) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        Signer.generate(name, NOW)


def test_a_log_name_too_long_to_be_signed_is_refused(first: Signer) -> None:
    with pytest.raises(ConfigurationError, match="too long"):
        first.sign(Checkpoint("x" * 256, 0, bytes(32)), NOW)


def test_whoever_trusts_a_key_of_the_chain_follows_it_to_all_others(third: Signer) -> None:
    history = KeyHistory.parse(notes(third))
    assert history == third.history
    for keys in history.sets:
        history.trust(keys.keys)
        history.trust(keys.keys[:1])
    with pytest.raises(IntegrityError, match="at least one"):
        history.trust([])


def test_a_key_outside_the_chain_is_not_trusted_through_it(third: Signer) -> None:
    stranger = Signer.generate(NAME, NOW).history.sets[0].ed25519
    with pytest.raises(IntegrityError, match="not in the chain"):
        third.history.trust([third.history.sets[0].ed25519, stranger])


def test_each_set_of_the_chain_still_verifies_what_it_signed(first: Signer, third: Signer) -> None:
    assert third.history.verify(first.sign(CHECKPOINT, NOW)) == third.history.sets[0]
    with pytest.raises(IntegrityError, match="none of the keys"):
        first.history.verify(third.sign(CHECKPOINT, NOW))


def test_a_chain_with_any_link_changed_is_refused(first: Signer, third: Signer) -> None:
    chain = notes(third)
    other = notes(Signer.generate(NAME, NOW).rotate(NOW))
    stolen = notes(first.rotate(NOW))
    tampered = [
        [],
        chain[1:],
        [chain[0], chain[2]],
        [chain[1], chain[0], chain[2]],
        [chain[0], other[1], chain[2]],
        [chain[0], stolen[1], chain[2]],
        [other[0], *chain[1:]],
        [*chain, chain[2]],
        notes(Signer.generate("elsewhere", NOW))[:1] + chain[1:],
    ]
    for links in tampered:
        with pytest.raises(IntegrityError):
            KeyHistory.parse(links)


def test_a_hand_over_that_the_old_keys_have_not_signed_is_refused(third: Signer) -> None:
    chain = third.history.notes
    for kept in ([0, 1], [0, 2], [0, 1, 2], [2, 3]):
        forged = sign_lines(chain[1].text, [chain[1].signatures[n] for n in kept])
        with pytest.raises(IntegrityError, match=r"missing|signatures by others"):
            KeyHistory.parse([bytes(chain[0]), bytes(forged), bytes(chain[2])])


def test_a_hand_over_signed_by_one_more_is_refused(third: Signer) -> None:
    chain = third.history.notes
    stranger = Signer.generate("stranger", NOW).sign(Checkpoint.parse(chain[1].text), NOW)
    forged = sign_lines(chain[1].text, [*chain[1].signatures, *stranger.signatures])
    with pytest.raises(IntegrityError, match="signatures by others"):
        KeyHistory.parse([bytes(chain[0]), bytes(forged), bytes(chain[2])])


def test_every_flipped_byte_of_a_chain_is_refused(first: Signer) -> None:
    chain = notes(first.rotate(NOW))
    for link, note in enumerate(chain):
        for at in range(0, len(note), 61):
            damaged = bytearray(note)
            damaged[at] ^= 1
            with pytest.raises(IntegrityError):
                KeyHistory.parse([*chain[:link], bytes(damaged), *chain[link + 1 :]])
