"""JSON that could be read in two ways has no canonical form, and the refusal shows nothing of it."""

from __future__ import annotations

import pytest

from lethe.integrity.rows.canonical_json import CanonicalError, canonical, parse


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a":1,"a":1}', "duplicate-key"),
        (b'{"a":{"b":1,"\\u0062":2}}', "duplicate-key"),
        (b'{"a":NaN}', "not-finite"),
        (b'{"a":-Infinity}', "not-finite"),
        (b'{"a":1e999}', "not-finite"),
        (b'{"a":9007199254740992}', "integer-too-large"),
        (b'{"a":-9007199254740992}', "integer-too-large"),
        (b'{"a":' + b"9" * 5000 + b"}", "integer-too-large"),
        (b'{"a":"\xff"}', "not-utf-8"),
        (b"\xef\xbb\xbf{}", "not-json"),
        (b"", "not-json"),
        (b'{"a":923001234567', "not-json"),
        (b"{} {}", "not-json"),
        (b"[1]", "not-an-object"),
        (b'"text"', "not-an-object"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too-deep"),
    ],
)
def test_ambiguous_json_is_refused_with_its_reason_alone(data: bytes, reason: str) -> None:
    with pytest.raises(CanonicalError) as refused:
        parse(data)
    assert str(refused.value) == reason
    assert refused.value.__cause__ is None


def test_half_a_character_has_no_canonical_form() -> None:
    with pytest.raises(CanonicalError, match=r"\Alone-surrogate\Z"):
        canonical(parse(b'{"a":"\\ud83d"}'))


def test_the_largest_exact_integers_are_kept() -> None:
    data = b'{"a":9007199254740991,"b":-9007199254740991}'
    assert canonical(parse(data)) == data


def test_spelling_does_not_matter() -> None:
    spellings = [b'{"b":1.50,"a":"\\u00e9"}', b' { "a" : "\xc3\xa9" , "b" : 15e-1 } ']
    assert {canonical(parse(spelling)) for spelling in spellings} == {b'{"a":"\xc3\xa9","b":1.5}'}
