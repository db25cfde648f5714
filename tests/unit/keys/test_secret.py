"""Key material does not show itself, whatever is done with its holder."""

from __future__ import annotations

import copy
import io
import pickle
import traceback

import pytest

from lethe.keys.monthkeys import MonthKeys, new_secret
from lethe.keys.secret import Secret
from lethe.schemas.errors import IntegrityError

VALUE = b"0123456789abcdef-the-key-itself!"


def shows(text: str) -> bool:
    return any(part in text for part in ("the-key-itself", VALUE.hex(), repr(VALUE)))


@pytest.mark.parametrize("show", [repr, str, ascii, lambda s: f"{s}", lambda s: f"{[s]!r}", "{0}".format])
def test_a_secret_is_not_shown(show: object) -> None:
    assert callable(show)
    assert not shows(show(Secret(VALUE)))
    assert not shows(show(MonthKeys("2025-01.w12", Secret(VALUE))))


def test_what_goes_in_comes_out() -> None:
    assert Secret(VALUE).reveal() == VALUE
    assert Secret(bytearray(VALUE)).reveal() == VALUE


def test_a_secret_is_a_copy_of_a_buffer_that_may_change() -> None:
    buffer = bytearray(VALUE)
    secret = Secret(buffer)
    buffer[0] = 0
    assert secret.reveal() == VALUE


def test_equality_is_that_of_the_bytes_and_of_nothing_else() -> None:
    assert Secret(VALUE) == Secret(VALUE)
    assert Secret(VALUE) != Secret(VALUE[:-1] + b"?")
    assert Secret(VALUE) != Secret(VALUE[:-1])
    assert Secret(VALUE) != VALUE


def test_a_secret_is_no_key_of_a_dictionary() -> None:
    with pytest.raises(TypeError):
        hash(Secret(VALUE))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("holder", [Secret, lambda value: MonthKeys("2025-01.w12", Secret(value))])
def test_a_secret_is_not_pickled(protocol: int, holder: type[Secret]) -> None:
    written = io.BytesIO()
    with pytest.raises(TypeError, match="pickle"):
        pickle.Pickler(written, protocol).dump(holder(VALUE))
    assert VALUE not in written.getvalue()


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy])
def test_a_secret_is_not_copied_in_passing(how: object) -> None:
    assert callable(how)
    with pytest.raises(TypeError):
        how(Secret(VALUE))


def test_a_traceback_with_local_variables_does_not_show_a_secret() -> None:
    keys = MonthKeys("2025-01.w12", Secret(VALUE))
    secret = Secret(VALUE)
    try:
        raise IntegrityError(f"something about {keys} and {secret}")
    except IntegrityError as error:
        lines = traceback.TracebackException.from_exception(error, capture_locals=True).format()
    text = "".join(lines)
    assert "MonthKeys(2025-01.w12)" in text
    assert not shows(text)


def test_the_four_keys_of_a_month_differ_and_depend_on_the_secret() -> None:
    one, other = (MonthKeys("2025-01.w12", new_secret()) for _ in range(2))
    keys = [
        key.reveal()
        for month in (one, other)
        for key in (month.token_key, month.message_key, month.sealing_key, month.salt_key)
    ]
    assert len(set(keys)) == 8
    assert {len(key) for key in keys} == {32}


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_secret_of_another_length_makes_no_month_keys(length: int) -> None:
    with pytest.raises(IntegrityError, match="32 bytes"):
        MonthKeys("2025-01.w12", Secret(bytes(length)))
