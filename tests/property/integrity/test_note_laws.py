"""Laws of signed notes: what was signed opens, and nothing else does, whatever comes in."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from integrity_samples import NAME, NOW

from lethe.integrity.evidence.verify_evidence import EvidenceError
from lethe.integrity.evidence.verify_evidence import verify as verify_evidence
from lethe.integrity.log.checkpoint import Checkpoint
from lethe.integrity.log.entries import Entry
from lethe.integrity.log.leaves import decode
from lethe.integrity.log.note import Note, VerifierKey, verify
from lethe.integrity.log.signing import Signer
from lethe.integrity.log.tiles import decode_bundle, encode_bundle, number_path, parse_tile_path, tile_path
from lethe.schemas.errors import IntegrityError

SIGNER = Signer.generate(NAME, NOW)
SIGNED = bytes(SIGNER.sign(Checkpoint(f"{NAME}/s/0", 7, bytes(range(32))), NOW))
KEYS = SIGNER.history.keys

origins = st.text(st.characters(min_codepoint=0x21, exclude_categories=["Cs", "Z"]), min_size=1, max_size=60)
checkpoints = st.builds(Checkpoint, origins, st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))


@settings(max_examples=50)
@given(checkpoints, st.integers(0, 2**63 - 1))
def test_what_was_signed_opens(checkpoint: Checkpoint, now: int) -> None:
    note = Note.parse(bytes(SIGNER.sign(checkpoint, now)))
    assert SIGNER.history.verify(note) == SIGNER.history.sets[0]
    assert Checkpoint.parse(note.text) == checkpoint
    assert note.signatures[1].time == now


@settings(max_examples=200)
@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_a_note_with_any_byte_changed_is_refused(at: int, change: int) -> None:
    damaged = bytearray(SIGNED)
    damaged[at] ^= change
    with pytest.raises(IntegrityError):
        SIGNER.history.verify(Note.parse(bytes(damaged)))


@settings(max_examples=200)
@given(st.integers(0, len(SIGNED) - 1), st.integers(0, 200), st.binary(max_size=20))
def test_a_note_with_a_piece_exchanged_is_refused(at: int, size: int, piece: bytes) -> None:
    damaged = SIGNED[:at] + piece + SIGNED[at + size :]
    if damaged != SIGNED:
        with pytest.raises(IntegrityError):
            SIGNER.history.verify(Note.parse(damaged))


shaped = st.builds(
    lambda text, gap, names, keys: (
        text + gap + "".join(f"— {n} {k}\n" for n, k in zip(names, keys, strict=False))
    ).encode(),
    st.text(max_size=40),
    st.sampled_from(["\n\n", "\n", ""]),
    st.lists(st.sampled_from([NAME, "x", "a b", ""]), max_size=3),
    st.lists(st.text("ABCDabcd0189+/=", max_size=24), max_size=3),
)


@settings(max_examples=300)
@given(st.binary(max_size=200) | shaped)
@example(b"")
@example(b"\n\n")
@example(SIGNED)
def test_whatever_comes_in_is_a_note_or_refused(data: bytes) -> None:
    try:
        note = Note.parse(data)
    except IntegrityError:
        return
    assert bytes(note) == data
    if data != SIGNED:
        with pytest.raises(IntegrityError):
            verify(note, KEYS)


@settings(max_examples=200)
@given(
    st.binary(max_size=300) | st.binary(max_size=300).map(lambda b: b"\x02\xf8\x5e\x00\x00" + b),
    st.integers(0, 2**40),
)
def test_nothing_that_comes_in_breaks_a_reader(data: bytes, first: int) -> None:
    for read in (
        Entry.parse,
        decode_bundle,
        lambda data: decode(data, first),
        lambda data: VerifierKey.parse(data.decode("latin-1")),
        lambda data: Checkpoint.parse(data.decode("latin-1")),
    ):
        with suppress(IntegrityError):
            read(data)  # type: ignore[operator]
    with pytest.raises(EvidenceError):
        verify_evidence(data, [str(KEYS[0])])


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_bundles_hold_their_entries(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries)) == entries


@given(st.integers(0, 63), st.integers(0, 2**63), st.integers(1, 256))
def test_tile_paths_are_read_back(level: int, number: int, width: int) -> None:
    assert parse_tile_path(tile_path(level, number, width)) == (level, number, width)
    assert int(number_path(number).replace("x", "").replace("/", "")) == number
