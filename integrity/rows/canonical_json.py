"""JSON that has exactly one form: strict parsing, and RFC 8785 (JSON canonicalization) back to bytes.

A record that held content is hashed in this form, without its content fields. So nothing may be parsed that
could be read in two ways: keys that occur twice, numbers that a double does not hold exactly.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn, TypeAlias

import rfc8785

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

LARGEST_INTEGER = 2**53 - 1
"""The largest integer, either side of zero, that every JSON reader holds exactly (RFC 8785, 3.2.2.3)."""


class CanonicalError(ValueError):
    """JSON without a canonical form. The text is one of the reasons below, never a value.

    `not-json`, `not-utf-8`, `duplicate-key`, `not-finite`, `integer-too-large`, `lone-surrogate`, `too-deep`,
    `not-an-object`.
    """


def parse(data: bytes) -> dict[str, Json]:
    """Read one JSON object; raises `CanonicalError` for everything that has no canonical form."""
    try:
        value = json.loads(
            data.decode(),
            object_pairs_hook=_object,
            parse_constant=_not_finite,
            parse_int=_integer,
            parse_float=_float,
        )
    except CanonicalError:
        raise
    except UnicodeDecodeError:
        raise CanonicalError("not-utf-8") from None
    except RecursionError:
        raise CanonicalError("too-deep") from None
    except ValueError:
        raise CanonicalError("not-json") from None
    if not isinstance(value, dict):
        raise CanonicalError("not-an-object")
    return value


def canonical(value: dict[str, Json]) -> bytes:
    """Return the RFC 8785 form of a parsed object; raises `CanonicalError` when it has none."""
    try:
        return rfc8785.dumps(value)
    except rfc8785.IntegerDomainError:
        raise CanonicalError("integer-too-large") from None
    except rfc8785.FloatDomainError:
        raise CanonicalError("not-finite") from None
    except RecursionError:
        raise CanonicalError("too-deep") from None
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        raise CanonicalError("lone-surrogate") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise CanonicalError("duplicate-key")
    return value


def _not_finite(_: str) -> NoReturn:
    raise CanonicalError("not-finite")


def _integer(digits: str) -> int:
    # The length first: `int` of a very long string is slow, and Python refuses it with the digits in the
    # message.
    if len(digits) > 17 or abs(value := int(digits)) > LARGEST_INTEGER:
        raise CanonicalError("integer-too-large")
    return value


def _float(digits: str) -> float:
    value = float(digits)
    if value - value != 0:  # 1e999 is infinite to a double
        raise CanonicalError("not-finite")
    return value
