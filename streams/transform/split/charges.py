"""What each record costs in all, from the price the vendor reports: whole columns of whole numbers, exact.

Money is in millionths, a quantity in thousandths of a second or whole parts; a charge is their product, rounded half to
even where a price per second of part of a second has more than six places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from lethe.schemas.declaration.charge import WHOLE, ChargeSpec
from lethe.schemas.declaration.format import Format
from lethe.schemas.line import Line
from lethe.streams.transform.batch import Reason
from lethe.streams.transform.split._collected import ArchiveColumns, Rejections, constant
from lethe.streams.transform.split.amounts import price_field
from lethe.streams.transform.split.columns import MONEY_LIMIT, money, volumes

Int64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
_DENOMINATOR: Final = {"part": 1, "second": 1_000, "minute": 60_000, "megabyte": 1_000_000}
_MICROS: Final = 1_000_000
_MOST_PRODUCT: Final = 9 * 10**18  # what 64 bits hold


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Whole numbers, and where there is none (None: everywhere there is one): 0 stands there."""

    values: Int64
    missing: Mask | None


def fill_charges(
    frame: pl.DataFrame, fmt: Format, line: Line, columns: ArchiveColumns, rejections: Rejections
) -> None:
    """Fill `charge` and `charge_basis`; reject a record whose charge is out of all bounds.

    Without a rule in the declaration the price unit says what the price is the price of, and without one the price is
    that of the record.
    """
    if not fmt.priced:
        if fmt.charge is not None:
            columns.put("charge_basis", constant("charge_basis", fmt.charge.basis, columns.height))
        return
    spec = fmt.charge
    if line.charge_basis is not None and fmt.can_charge_by(line.charge_basis):
        spec = (spec or ChargeSpec(basis="message")).model_copy(update={"basis": line.charge_basis})
    if spec is None:
        _by_unit(frame, fmt, columns, rejections)
        return
    price = columns.values.get("price")
    if price is not None and spec.basis != "none":
        columns.put("charge", _worked_out(frame, fmt, spec, price, columns, rejections))
    _name_basis(spec.basis, columns)


def _by_unit(frame: pl.DataFrame, fmt: Format, columns: ArchiveColumns, rejections: Rejections) -> None:
    """Go by the unit of each price, which a field or a rule may have given."""
    price, unit = columns.values.get("price"), columns.values.get("price_unit")
    whole = "call" if fmt.channel == "voice" else "message"
    if price is None:
        _name_basis(whole, columns)
        return
    units = [None] if unit is None else unit.unique().to_list()
    for one in units:
        basis = whole if one in (None, "message") else one
        here = price
        if unit is not None and len(units) > 1:
            here = price.set((unit.is_null() if one is None else unit != one).fill_null(True), None)
        timed = {"duration_ms", "charged_duration_ms"} & columns.values.keys()
        if basis not in WHOLE and not timed:
            continue  # nothing says how long it was: the price stands, without a charge
        columns.put("charge", _worked_out(frame, fmt, ChargeSpec(basis=basis), here, columns, rejections))
        _name_basis(basis, columns, here.is_not_null())


def _name_basis(basis: str, columns: ArchiveColumns, where: pl.Series | None = None) -> None:
    """Say by what a charge was made, where there is a price or a charge."""
    said = constant("charge_basis", basis, columns.height)
    if where is None and basis != "none":
        money = [columns.values[n] for n in ("price", "charge") if n in columns.values]
        if all(one.null_count() for one in money):
            where = money[0].is_not_null()
            for one in money[1:]:
                where = where | one.is_not_null()
    columns.put("charge_basis", said if where is None else said.set(~where, None))


def _worked_out(
    frame: pl.DataFrame,
    fmt: Format,
    spec: ChargeSpec,
    price: pl.Series,
    columns: ArchiveColumns,
    rejections: Rejections,
) -> pl.Series:
    if spec.basis in WHOLE and not spec.plus:
        return price.alias("charge")
    amounts = _micros(price)
    values, missing = amounts.values, amounts.missing
    if spec.basis not in WHOLE:
        quantity = _quantity(frame, spec, columns, rejections)
        values, beyond = _product(values, quantity.values, _DENOMINATOR[spec.basis])
        missing = _either(missing, quantity.missing)
        if beyond is not None:
            rejections.add(pl.Series(beyond), Reason.NOT_A_NUMBER, "charge")
    for path in spec.plus:
        values = values + _fee(frame, path, fmt, rejections).values
    if spec.plus and (odd := np.abs(values) >= MONEY_LIMIT * _MICROS).any():
        rejections.add(pl.Series(odd), Reason.NOT_A_NUMBER, "charge")
        values = np.where(odd, 0, values)
    return _decimals(values, missing)


def _product(micros: Int64, quantity: Int64, denominator: int) -> tuple[Int64, Mask | None]:
    """Multiply and divide, half to even; also tell where that is out of bounds, if anywhere: 0 stands there."""
    most = min(MONEY_LIMIT * _MICROS * denominator, _MOST_PRODUCT)
    beyond = None
    if len(micros) and float(np.abs(micros).max()) * float(quantity.max()) >= most:
        beyond = np.abs(micros.astype(np.float64)) * quantity.astype(np.float64) >= most
        micros = np.where(beyond, 0, micros)
    product = micros * quantity
    if denominator == 1:
        return product, beyond
    found, rest = np.divmod(product, denominator)
    up = (2 * rest > denominator) | ((2 * rest == denominator) & (found % 2 == 1))
    return found + up, beyond


def _quantity(
    frame: pl.DataFrame, spec: ChargeSpec, columns: ArchiveColumns, rejections: Rejections
) -> _Numbers:
    if spec.basis == "megabyte":
        assert spec.quantity is not None  # noqa: S101  (checked when the format was read)
        text = frame.get_column(spec.quantity)
        found = volumes(text, spec.quantity_scale)
        _reject_unread(text, found, spec.quantity, rejections)
        return _whole(found)
    names = ("parts",) if spec.basis == "part" else ("charged_duration_ms", "duration_ms")
    return _whole(next(columns.values[name] for name in names if name in columns.values))


def _fee(frame: pl.DataFrame, path: str, fmt: Format, rejections: Rejections) -> _Numbers:
    text = frame.get_column(path)
    price = price_field(fmt)
    found = money(text, "1") if price is None else money(text, price.scale, price.decimal_mark)
    _reject_unread(text, found, path, rejections)
    return _micros(found)


def _reject_unread(text: pl.Series, found: pl.Series, path: str, rejections: Rejections) -> None:
    if found.null_count() > text.null_count():
        unread = text.is_not_null() & found.is_null() & (text.str.strip_chars() != "")
        rejections.add(unread, Reason.NOT_A_NUMBER, path)


def _whole(values: pl.Series) -> _Numbers:
    missing = values.is_null().to_numpy() if values.null_count() else None
    return _Numbers(values.cast(pl.Int64).fill_null(0).to_numpy(), missing)


def _micros(price: pl.Series) -> _Numbers:
    """Return decimals with six places as millionths: the lower half of each, whose upper half is but its sign."""
    array: Any = price.rechunk().to_arrow()
    halves = np.frombuffer(array.buffers()[1], np.int64)[2 * array.offset : 2 * (array.offset + len(array))]
    values: Int64 = halves[::2]
    if not price.null_count():
        return _Numbers(values, None)
    missing = price.is_null().to_numpy()
    return _Numbers(np.where(missing, 0, values), missing)


def _decimals(values: Int64, missing: Mask | None) -> pl.Series:
    halves = np.empty((len(values), 2), np.int64)
    halves[:, 0], halves[:, 1] = values, values >> 63
    array = pa.Array.from_buffers(pa.decimal128(18, 6), len(values), [None, pa.py_buffer(halves)])
    found: Any = pl.from_arrow(array)
    charge: pl.Series = found.alias("charge")
    return charge if missing is None else charge.set(pl.Series(missing), None)


def _either(one: Mask | None, other: Mask | None) -> Mask | None:
    if one is None or other is None:
        return other if one is None else one
    return one | other
