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
_LONGEST_PREFIX: Final = 5  # that is dialled before the code of a country
_ZEROS_LEFT_OUT: Final = 2  # by a program that writes the shortest text of a number
FEWEST, MOST = 7, 15  # digits of what `E164` captures
_SEPARATED: Final = re.compile(r"(?:\+|00)[\d\s().\-/\u2010-\u2015\u00a0]+")
_DIALLED: Final = re.compile(r"[\d\s().\-/\u2010-\u2015\u00a0]+")
_EXTENSION: Final = re.compile(
    r"\s*(?:;\s*ext=|\bext(?:ension|n)?\b\.?|\bx\.?|(?<=\d)x|#)\s*[0-9]{1,7}$", re.IGNORECASE
)
_AFTER: Final = re.compile(
    r"(?<=[0-9])(?:[,;pw][0-9*#,;pw]*|#)$", re.IGNORECASE
)  # pauses and what is keyed then
_SERVICE: Final = re.compile(
    r"(?:[*#]31#|\*(?:67|82))(?=[+0-9])"
)  # show or hide oneself: 3GPP TS 22.030, NANP
_SHEET: Final = re.compile(r"=\"(?P<formula>\+?[0-9 ().-]+)\"|'(?P<text>\+?[0-9 ().-]+)")
_LISTED_ALONE: Final = re.compile(r"(?<=[0-9])[,;.]+$")
_FLOAT: Final = re.compile(r"([1-9][0-9]{6,14})\.0+")
_EXPONENT: Final = re.compile(r"([1-9])\.([0-9]{6,14})E\+?([0-9]{1,2})", re.IGNORECASE)
_CODE_IN_BRACKETS: Final = re.compile(r"\(\s*(?:\+|00)\s*([1-9][0-9]{0,2})\s*\)")
_NAMED_EXTENSION: Final = re.compile(r"ext(?:ension|n)?[.:\s]*([0-9]{2,6})", re.IGNORECASE)
_ESCAPED_PLUS: Final = re.compile(r"\\+\+")  # as in the patterns of a dial plan
_PLUSES: Final = re.compile(r"\+[+\s]*(?:00)?(?=[1-9(])")
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


def as_written(text: str) -> str:
    """Undo what spreadsheets, programs, switches and forms do to a number; return any other text as it is.

    A number with an exponent is read only if it cannot have been rounded: `9.23006E+11` is many people's.
    """
    text = _ESCAPED_PLUS.sub("+", _LISTED_ALONE.sub("", text))
    if match := _NAMED_EXTENSION.fullmatch(text):
        return match[1]
    if match := _SHEET.fullmatch(text):
        text = match["formula"] or match["text"]
    if match := _FLOAT.fullmatch(text):
        return match[1]
    if match := _EXPONENT.fullmatch(text):
        lacking = int(match[3]) - len(match[2])
        return f"{match[1]}{match[2]}{'0' * lacking}" if 0 <= lacking <= _ZEROS_LEFT_OUT else text
    text = _CODE_IN_BRACKETS.sub(r"+\1 ", text, count=1) if text.startswith("(") else text
    return _PLUSES.sub("+", text, count=1) if text.startswith("+") else text


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
    prefixed = text.startswith("00")
    try:
        number = phonenumbers.parse("+" + (digits[2:] if prefixed else digits), None)
    except phonenumbers.NumberParseException:
        return canonical_number(whole[1]) if whole else None
    # In some countries 0011 or 001 is dialled before a number: no American's is so long.
    other = prefixed and number.country_code == 1 and not phonenumbers.is_possible_number(number)
    return None if other else _value(number)


def dialled(text: str, country: str | None) -> str | None:
    """Read a number as it is written on a line: international, or national under the line's country.

    Bare digits are international only when there are enough of them and some country has such a number; None for
    anything else, above all for national digits on a line whose country is not known.
    """
    text = _AFTER.sub("", _SERVICE.sub("", text, count=1))
    if text.startswith("+") or (country is None and text.startswith("00")):
        return international(text)
    text = _EXTENSION.sub("", text.split(";")[0].strip()).strip()
    if not _DIALLED.fullmatch(text):
        return None
    digits = re.sub(r"\D", "", text)
    fewest = FEWEST if country is None else _fewest(country)
    if not digits.isascii() or not fewest <= len(digits) <= MOST + _LONGEST_PREFIX:
        return None
    if country is not None and digits.startswith("00"):
        return _abroad(digits, country) or international(text)
    found = None if country is None else _with_own_code(digits, country) or _on_line(digits, country)
    if found is None and (spelt := canonical_number(digits)) != digits:
        digits = spelt
    if found is None and len(digits) >= _SHORTEST_INTERNATIONAL and not digits.startswith("0"):
        found = _valid(f"+{digits}", None, strictly=len(digits) == _SHORTEST_INTERNATIONAL)
    return found


def behind_trunk(text: str, country: str) -> str | None:
    """Read digits that begin with a single 0 as a number of the country: no country's code begins so."""
    digits = bare_digits(text.replace("+", ""))
    return (
        dialled(text, country) if digits and digits.startswith("0") and not digits.startswith("00") else None
    )


def with_own_code(text: str, country: str) -> str | None:
    """Read what begins with the code of the line's own country as a whole number, if there is such a one."""
    digits = bare_digits(_EXTENSION.sub("", text.split(";")[0].strip()))
    return _with_own_code(digits, country) if digits else None


def is_named_extension(text: str) -> bool:
    """Tell whether a text is an extension with the word for it, which was stored as it is until version 0.2."""
    return _NAMED_EXTENSION.fullmatch(text) is not None


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


def _abroad(digits: str, country: str) -> str | None:
    """Read digits that begin with 00, which is dialled before a country's code in most countries and written in all.

    Where 001 or another prefix is dialled that begins so, it counts, unless the line's own country follows on 00.
    """
    whole, own = _valid(f"+{digits[2:]}", None), _on_line(digits, country)
    if whole is None or own is None or whole.startswith(str(phonenumbers.country_code_for_region(country))):
        return whole or own
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(country)
    prefix = metadata.international_prefix if metadata is not None else None
    return whole if prefix is None or re.fullmatch(prefix, "00") else own


def _on_line(digits: str, country: str) -> str | None:
    """Read digits as they are dialled in a country: behind its own international or trunk prefix, or bare.

    Behind a prefix what is as long as a number is one, though nobody may have been given it yet.
    """
    try:
        number = phonenumbers.parse(digits, country, keep_raw_input=True)
    except phonenumbers.NumberParseException:
        return None
    trunk = phonenumbers.ndd_prefix_for_region(country, True)
    abroad = number.country_code_source == phonenumbers.CountryCodeSource.FROM_NUMBER_WITH_IDD
    prefixed = abroad or (trunk is not None and digits.startswith(trunk) and not digits.startswith("00"))
    reason = phonenumbers.is_possible_number_with_reason(number)
    possible = prefixed and reason == phonenumbers.ValidationResult.IS_POSSIBLE
    return _value(number) if possible or phonenumbers.is_valid_number(number) else None


def in_context(text: str, code: int) -> str | None:
    """Read a number as it is written in the country with a calling code; None where no country has the code."""
    country = phonenumbers.region_code_for_country_code(code)
    return None if country in ("ZZ", "001") else dialled(text, country)


def _value(number: phonenumbers.PhoneNumber) -> str | None:
    value = f"{number.country_code}{phonenumbers.national_significant_number(number)}"
    return canonical_number(value) if FEWEST <= len(value) <= MOST else None
