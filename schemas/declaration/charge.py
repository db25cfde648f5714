"""What a record costs in all: how it follows from the price that a vendor reports."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from pydantic import Field

from lethe.schemas.declaration.fields import Declared, FieldPath
from lethe.schemas.declaration.vocabulary import ChargeBasis

WHOLE: Final = frozenset({"message", "call"})
"""Bases under which the price is that of the whole record."""
TIMED: Final = frozenset({"second", "minute"})
_SCALE: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,12})?")


class ChargeSpec(Declared):
    """`basis`: what the price is the price of; `none`: such records cost nothing themselves.

    A field that fills the column `charge` says the whole; it counts before what is worked out. `assumed` says what the
    vendor leaves open, and a source can set another basis.
    """

    basis: ChargeBasis
    quantity: FieldPath | None = None  # megabyte: the field that holds the volume
    quantity_scale: str = "1"  # factor to megabytes, "0.000001" for bytes
    plus: tuple[FieldPath, ...] = Field((), max_length=10)  # fees beside the price, written as the price is
    assumed: str | None = Field(None, min_length=3, max_length=500)


def impossible(basis: str, spec: ChargeSpec, filled: Collection[str], single: Collection[str]) -> str | None:
    """Say why a charge cannot be worked out by a basis; None if it can.

    `filled`: the columns that fields, rules and constants of the format fill. `single`: its fields outside of lists.
    """
    if basis == "none":
        return "charge.basis: none, but a field fills a price" if "price" in filled else None
    if not {"price", "charge"} & set(filled):
        return f"charge.basis: {basis} needs a field that fills price or charge"
    if "currency" not in filled:
        return "charge: nothing fills currency"
    if basis == "part" and "parts" not in filled:
        return "charge.basis: part needs a field that fills parts"
    if basis in TIMED and not {"duration_ms", "charged_duration_ms"} & set(filled):
        return f"charge.basis: {basis} needs a field that fills charged_duration_ms or duration_ms"
    if (basis == "megabyte") != (spec.quantity is not None):
        return "charge.quantity: megabyte, and nothing else, needs the field that holds the volume"
    for name, path in [("quantity", spec.quantity), *(("plus", one) for one in spec.plus)]:
        if path is not None and path not in single:
            return f"charge.{name}: {path} is not declared as a single field"
    if not _SCALE.fullmatch(spec.quantity_scale) or float(spec.quantity_scale) == 0:
        return 'charge.quantity_scale: a decimal number such as "0.000001"'
    return None
