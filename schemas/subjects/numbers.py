"""Telephone numbers: read from what was written or dialled, and the one spelling of several that is stored.

A number is never given a region it does not carry, unless the line it was written on has one: bare international
digits with a default region turn into a stranger's number, and bare national digits without one do too.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import phonenumbers

E164: Final = r"^\+?([1-9][0-9]{6,14})$"
# A trunk 0 kept behind the country code, as in +92 0300 …; in a few countries it belongs to the number.
TRUNK: Final = rf"^\+?(?:{'|'.join(str(c) for c in sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE))})0"
FEWEST, MOST = 7, 15  # digits of what `E164` captures
_SEPARATED: Final = re.compile(r"(?:\+|00)[\d\s().\-/\u2010-\u2015\u00a0]+")
_DIALLED: Final = re.compile(r"[\d\s().\-/\u2010-\u2015\u00a0]+")
_EXTENSION: Final = re.compile(
    r"\s*(?:;\s*ext=|\bext(?:ension|n)?\b\.?|\bx\.?|(?<=\d)x|#)\s*[0-9]{1,7}$", re.IGNORECASE
)
_SHORTEST_INTERNATIONAL: Final = (
    11  # bare digits: with fewer, national numbers of other countries look the same
)

# Numbers written in two ways: with a mobile prefix that some networks and apps leave out (ITU-T E.164 national plans).
_SHORTER: Final = (
    (re.compile(r"521([1-9][0-9]{9})"), "52"),  # Mexico, before 2019
    (re.compile(r"549([1-9][0-9]{9})"), "54"),  # Argentina, mobiles called from abroad
)
_BRAZIL: Final = re.compile(r"55([1-9][1-9])([6-9][0-9]{7})")  # mobiles before the ninth digit
RESPELT: Final = (("521", 13), ("549", 13), ("55", 12))
"""What numbers that are stored in another spelling begin with, and how many digits they have."""


@lru_cache(maxsize=1 << 14)
def canonical_number(value: str) -> str:
    """Return the one spelling under which an E.164 number (digits) is stored."""
    for pattern, code in _SHORTER:
        if match := pattern.fullmatch(value):
            return code + match[1]
    if match := _BRAZIL.fullmatch(value):
        return f"55{match[1]}9{match[2]}"
    return value


def other_spellings(value: str) -> tuple[str, ...]:
    """Return the other international spellings of a number in its stored spelling."""
    if re.fullmatch(r"52[1-9][0-9]{9}", value):
        return (f"521{value[2:]}",)
    if re.fullmatch(r"54[1-9][0-9]{9}", value):
        return (f"549{value[2:]}",)
    if re.fullmatch(r"55[1-9][1-9]9[6-9][0-9]{7}", value):
        return (f"{value[:4]}{value[5:]}",)
    return ()


def international(text: str) -> str | None:
    """Read a number in an international spelling: with `+`, `00` or bare digits; None for anything else.

    Parameters of a URI and extensions are left out.
    """
    if text.startswith(("+", "00")):
        text = _EXTENSION.sub("", text.split(";")[0].strip()).strip()
    whole = re.match(E164, text)
    if whole and not re.match(TRUNK, text):
        return canonical_number(whole[1]) if whole[1].isascii() else None
    if not whole and not _SEPARATED.fullmatch(text):
        return None
    digits = re.sub(r"\D", "", text)
    try:
        number = phonenumbers.parse("+" + (digits[2:] if text.startswith("00") else digits), None)
    except phonenumbers.NumberParseException:
        return canonical_number(whole[1]) if whole else None
    return _value(number)


def dialled(text: str, country: str | None) -> str | None:
    """Read a number as it is written on a line: international, or national under the line's country.

    Bare digits are international only when there are enough of them and some country has such a number; None for
    anything else, above all for national digits on a line whose country is not known.
    """
    if text.startswith(("+", "00")):
        return international(text)
    text = _EXTENSION.sub("", text.split(";")[0].strip()).strip()
    if not _DIALLED.fullmatch(text):
        return None
    digits = re.sub(r"\D", "", text)
    fewest = FEWEST if country is None else _fewest(country)
    if not digits.isascii() or not fewest <= len(digits) <= MOST:
        return None
    found = None if country is None else _with_own_code(digits, country) or _valid(digits, country)
    if found is None and len(digits) >= _SHORTEST_INTERNATIONAL and not digits.startswith("0"):
        found = _valid(f"+{digits}", None, strictly=len(digits) == _SHORTEST_INTERNATIONAL)
    return found


def bare_digits(text: str) -> str | None:
    """Return the digits of a text that has nothing but digits and separators, else None."""
    if not _DIALLED.fullmatch(text):
        return None
    return re.sub(r"[^0-9]", "", text) or None


def national_spellings(value: str, country: str) -> tuple[str, ...]:
    """Return how a number is dialled within its country: bare and with its trunk prefix; () in another country."""
    try:
        number = phonenumbers.parse(f"+{value}", None)
    except phonenumbers.NumberParseException:
        return ()
    if country not in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(number.country_code or 0, ()):
        return ()
    bare = phonenumbers.national_significant_number(number)
    trunk = re.sub(r"\D", "", phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL))
    return tuple(dict.fromkeys((bare, trunk)))


@lru_cache(maxsize=256)
def _fewest(country: str) -> int:
    """Return how many digits a national number has at least: on some islands fewer than any international one."""
    kinds = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE)
    examples = filter(None, (phonenumbers.example_number_for_type(country, kind) for kind in kinds))
    return min((len(phonenumbers.national_significant_number(one)) for one in examples), default=FEWEST)


def _with_own_code(digits: str, country: str) -> str | None:
    """Read digits that begin with the code of the line's own country as a whole number, if there is such a one.

    Where a trunk prefix is dialled before national numbers, digits without one are none of them: `4915123456789` on a
    German line is +49 1512 3456789, though numbers as long as +49 4915 123456789 are thinkable too.
    """
    trunk = phonenumbers.ndd_prefix_for_region(country, True)
    code = str(phonenumbers.country_code_for_region(country))
    if not trunk or digits.startswith(trunk) or not digits.startswith(code):
        return None
    return _valid(f"+{digits}", None)


def _valid(text: str, country: str | None, strictly: bool = True) -> str | None:
    """Read a number that is given out somewhere, or at least as long as the country's numbers are."""
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None
    known = phonenumbers.is_valid_number if strictly else phonenumbers.is_possible_number
    return _value(number) if known(number) else None


def _value(number: phonenumbers.PhoneNumber) -> str | None:
    value = f"{number.country_code}{phonenumbers.national_significant_number(number)}"
    return canonical_number(value) if FEWEST <= len(value) <= MOST else None
