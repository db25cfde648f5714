"""Addresses as vendors and people write them become one and the same somebody; nobody is given a country of ours."""

from __future__ import annotations

import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lethe.schemas.subjects.address_columns import _MAY_BEGIN, _shapes_of, normalise_column
from lethe.schemas.subjects.addresses import normalise
from lethe.schemas.subjects.business import business_address
from lethe.schemas.subjects.numbers import E164, TRUNK


def _are_numbers(texts: pl.Series) -> bool:
    shapes = _shapes_of(texts)
    return shapes is not None and bool(_MAY_BEGIN[shapes[0]].all())


SAME_NUMBER = [
    "923005550142",
    "+923005550142",
    "00923005550142",
    "+92 300 5550142",
    "00 92 300 555 01 42",
    "+92-300-555.0142",
    "+92 (300) 5550142",
    "tel:+923005550142",
    "TEL:+923005550142;ext=1",
    "sip:+923005550142@gw.example.net;user=phone",
    '"Ayesha" <sip:+923005550142@203.0.113.5>;tag=1',
    "%2B923005550142",
    "%252B923005550142",
    "whatsapp:+923005550142",
    "923005550142@s.whatsapp.net",
    "923005550142@C.US",
    "٩٢٣٠٠٥٥٥٠١٤٢",
    "＋９２３００５５５０１４２",
    "+9203005550142",
    " 923005550142\n",
    "<tel:+923005550142>",
]


@pytest.mark.parametrize("text", SAME_NUMBER)
def test_every_spelling_of_a_number_is_that_number(text: str) -> None:
    found = normalise(text)
    assert found is not None
    assert (found.kind, found.value) == ("msisdn", "923005550142")


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("JANE.Doe+News@Example.ORG", "email", "jane.doe+news@example.org"),
        ("mailto:j@example.org?subject=x", "email", "j@example.org"),
        ("jane%40example.org", "email", "jane@example.org"),
        ("Jane <jane@example.org>", "email", "jane@example.org"),
        ("2001:DB8:0::7", "ip", "2001:db8::7"),
        ("[2001:db8::7]", "ip", "2001:db8::7"),
        ("203.0.113.5", "ip", "203.0.113.5"),
        ("sip:Kevin@Example.com:5060;transport=tcp", "sip", "kevin@example.com"),
        ("sips:example.com", "sip", "example.com"),
        ("1001", "opaque", "1001"),
        ("0300 5550142", "opaque", "0300 5550142"),
        ("telegram:4711", "chat", "telegram:4711"),
        ("viber:ZV9ub3Q=", "chat", "viber:ZV9ub3Q="),
    ],
)
def test_other_kinds(text: str, kind: str, value: str) -> None:
    found = normalise(text)
    assert found is not None
    assert (found.kind, found.value) == (kind, value)


def test_a_chat_id_is_scoped_by_its_channel_and_found_again_as_people_type_it() -> None:
    for channel, text, value in [
        ("whatsapp", "BR.1502576394655843", "whatsapp:BR.1502576394655843"),
        ("whatsapp", "@joao", "whatsapp:joao"),
        ("telegram", "1502576394", "telegram:1502576394"),
        ("messenger", "923005550142", "messenger:923005550142"),
    ]:
        found = normalise(text, "chat", channel)
        assert found is not None
        assert (found.kind, found.value) == ("chat", value)
        assert normalise(value) == found
    number = normalise("923005550142", "chat", "whatsapp")
    assert number == normalise("+92 300 5550142") == normalise("923005550142", "chat", "sms")


def test_nothing_shows_the_value() -> None:
    found = normalise("923005550142")
    assert "923005550142" not in f"{found!r} {found}"


TEXTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(SAME_NUMBER),
    st.from_regex(r"\+?[0-9]{5,17}", fullmatch=True),
    st.emails(),
    st.from_regex(r"(whatsapp|telegram|tel|sip|mailto|x):[+@%<>;a-z0-9.]{0,20}", fullmatch=True),
)


@given(
    texts=st.lists(st.one_of(st.none(), TEXTS), max_size=6),
    kind=st.sampled_from(["auto", "chat", "opaque", "ip"]),
    channels=st.lists(
        st.sampled_from([None, "sms", "whatsapp", "telegram", "email"]), min_size=6, max_size=6
    ),
)
def test_a_column_is_its_values_one_by_one(
    texts: list[str | None], kind: str, channels: list[str | None]
) -> None:
    channels = channels[: len(texts)]
    column = normalise_column(pl.Series(texts, dtype=pl.String), kind, pl.Series(channels, dtype=pl.String))
    alone = [normalise(t, kind, c) if t is not None else None for t, c in zip(texts, channels, strict=True)]
    assert column.rows() == [(s.kind, s.value) if s else (None, None) for s in alone]


@pytest.mark.parametrize(
    ("text", "longest", "expected"),
    [
        ("+447520630014", 11, ("number", "447520630014")),
        ("whatsapp:+447520630014", 11, ("number", "447520630014")),
        ("24365", 11, ("short_code", "24365")),
        ("CaféÄgypt", 11, ("alphanumeric", "CaféÄgypt")),
        ("Acme <News@Acme.example>", 11, ("email", "news@acme.example")),
        ("acme-rcs-agent", 64, ("alphanumeric", "acme-rcs-agent")),
        ("acme-rcs-agent", 11, None),
        ("BR.1502576394655843", 64, None),
        ("203.0.113.5", 64, None),
        ("sip:a@b", 64, None),
        ("call 0300 5550142", 64, None),
        ("", 11, None),
        ("(415) 555-0123", 64, None),
        ("https://example.com", 64, None),
    ],
)
def test_a_business_is_a_number_a_short_code_a_name_or_an_address(
    text: str, longest: int, expected: tuple[str, str] | None
) -> None:
    found = business_address(text, longest)
    assert (found and (found.kind, found.address)) == expected


def test_a_column_of_numbers_is_what_the_patterns_say() -> None:
    every = [f"{beginning:04}12345" for beginning in range(10_000)]
    right = [bool(re.match(E164, text)) and not re.match(TRUNK, text) for text in every]
    assert 5_000 < sum(right) < 9_000
    assert [_are_numbers(pl.Series([text])) for text in every] == right
    good = pl.Series([text for text, one in zip(every, right, strict=True) if one])
    assert _are_numbers(good)
    assert _are_numbers(good[3:])
    assert _are_numbers(pl.concat([good[:5], good[9:]], rechunk=False))
    for other in (
        "123456",
        "1234567890123456",
        "",
        "12345678a",
        "1234567/",
        "1234567:",
        "١٢٣٤٥٦٧٨",
        "+1234567",
    ):
        assert not _are_numbers(pl.Series(["923001234567", other]))
    for other in ("1234567", "123456789012345", None):
        assert _are_numbers(pl.Series(["923001234567", other]))
    assert _are_numbers(pl.Series([None, None], dtype=pl.String))
