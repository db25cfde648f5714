"""Sealed values open in their place, with the keys of their month, unchanged: and nowhere else."""

from __future__ import annotations

import traceback

import pyarrow as pa
import pytest

from lethe.keys.monthkeys import MonthKeys, new_secret
from lethe.keys.sealing import open_column, open_value, seal_column, seal_value
from lethe.keys.secret import Secret
from lethe.schemas.errors import IntegrityError

KEYS = MonthKeys("2025-01.w12", Secret(bytes(32)))
PLACE = ("identifiers", "sealed", "infobip.sms/3/17")
VALUE = b"jane.doe@example.com"


def test_the_same_value_in_the_same_place_gives_the_same_bytes() -> None:
    assert seal_value(KEYS, *PLACE, VALUE) == seal_value(KEYS, *PLACE, VALUE)


def test_another_value_in_the_same_place_shares_nothing_with_the_first() -> None:
    """A replay may carry another plaintext; under GCM the XOR of the two would show."""
    one, other = (seal_value(KEYS, *PLACE, value) for value in (b"\0" * 64, b"\0" * 63 + b"\1"))
    equal = sum(a == b for a, b in zip(one[1:], other[1:], strict=True))
    assert equal < 16
    assert open_value(KEYS, *PLACE, one) != open_value(KEYS, *PLACE, other)


@pytest.mark.parametrize(
    "place",
    [
        ("quarantine", "sealed", "infobip.sms/3/17"),
        ("identifiers", "page", "infobip.sms/3/17"),
        ("identifiers", "sealed", "infobip.sms/3/18"),
        ("identifiers", "sealed", "infobip.sms/3/17/0"),
        ("identifiers", "sealedinfobip", ".sms/3/17"),
        ("", "identifierssealed", "infobip.sms/3/17"),
    ],
)
def test_it_opens_in_no_other_place(place: tuple[str, str, str]) -> None:
    with pytest.raises(IntegrityError, match="changed, moved, or sealed under other keys"):
        open_value(KEYS, *place, seal_value(KEYS, *PLACE, VALUE))


def test_it_opens_with_no_other_keys() -> None:
    with pytest.raises(IntegrityError, match=r"2025-02\.w12"):
        open_value(MonthKeys("2025-02.w12", new_secret()), *PLACE, seal_value(KEYS, *PLACE, VALUE))


@pytest.mark.parametrize("value", [b"", VALUE])
def test_every_changed_bit_and_every_other_length_is_refused(value: bytes) -> None:
    sealed = seal_value(KEYS, *PLACE, value)
    changed = [bytes([*sealed[: b // 8], sealed[b // 8] ^ 1 << b % 8, *sealed[b // 8 + 1 :]])
               for b in range(8 * len(sealed))]  # fmt: skip
    for other in [*changed, *(sealed[:n] for n in range(len(sealed))), sealed + b"\0", b"\1", b"\2"]:
        with pytest.raises(IntegrityError):
            open_value(KEYS, *PLACE, other)
    assert open_value(KEYS, *PLACE, sealed) == value


def test_a_column_is_its_values_and_null_stays_null() -> None:
    positions = [f"s/0/{n}" for n in range(4)]
    values = [VALUE, None, b"", b"\xff" * 1000]
    sealed = seal_column(KEYS, "identifiers", "sealed", positions, values)
    assert sealed.type == pa.binary()
    assert sealed.to_pylist() == [
        None if v is None else seal_value(KEYS, "identifiers", "sealed", p, v)
        for p, v in zip(positions, values, strict=True)
    ]
    assert open_column(KEYS, "identifiers", "sealed", positions, sealed.to_pylist()) == values
    with pytest.raises(IntegrityError):
        open_column(KEYS, "identifiers", "sealed", positions[::-1], sealed.to_pylist())


def test_an_empty_column() -> None:
    assert seal_column(KEYS, "t", "c", [], []).type == pa.binary()
    assert open_column(KEYS, "t", "c", [], []) == []


def test_a_column_without_a_position_for_each_value_is_refused() -> None:
    with pytest.raises(ValueError, match="one position for each value"):
        seal_column(KEYS, "t", "c", ["s/0/0"], [VALUE, VALUE])
    with pytest.raises(ValueError, match="one position for each value"):
        open_column(KEYS, "t", "c", ["s/0/0"], [])


def test_an_error_shows_neither_the_value_nor_a_key_nor_the_sealed_bytes() -> None:
    sealed = bytearray(seal_value(KEYS, *PLACE, VALUE))
    sealed[-1] ^= 1
    with pytest.raises(IntegrityError) as error:
        open_value(KEYS, *PLACE, bytes(sealed))
    text = "".join(traceback.format_exception(error.value)) + repr(error.value.__context__)
    for hidden in (VALUE.decode(), KEYS.sealing_key.reveal().hex(), bytes(sealed).hex(), "InvalidTag"):
        assert hidden not in text
