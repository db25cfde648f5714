"""Lines of logs: cut into the named parts of the first of the declared patterns that fits the whole line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from lethe.schemas.declaration.format import Format
from lethe.schemas.declaration.lines import anchored
from lethe.streams.transform.batch import Reason

_WHOLE: Final = "1"  # the group around a pattern, which is the first


@dataclass(frozen=True, slots=True)
class Cut:
    """`parts`: one String column per named group, a row for each line that fits; `at`: the places of these lines.

    `refused`: the places of the others, in their order, and why.
    """

    parts: pl.DataFrame
    at: npt.NDArray[np.int64]
    refused: list[tuple[int, str]]


def cut_lines(values: Sequence[bytes], fmt: Format) -> Cut:
    """Cut lines by the patterns of a format, all lines at once for each pattern that is still needed."""
    refused = dict[int, str]()
    texts: list[str | None] = []
    for place, value in enumerate(values):
        try:
            texts.append(value.decode("utf-8").rstrip("\r"))
        except UnicodeDecodeError:
            texts.append(None)
            refused[place] = Reason.NOT_UTF8
    column = pl.Series(texts, dtype=pl.String)
    left = np.flatnonzero(column.is_not_null().to_numpy())
    frames: list[pl.DataFrame] = []
    places: list[npt.NDArray[np.int64]] = []
    for pattern in fmt.lines:
        if not len(left):
            break
        found = column[left].str.extract_groups(anchored(pattern)).struct.unnest()
        fits = found.get_column(_WHOLE).is_not_null()
        frames.append(found.filter(fits).select(name for name in found.columns if not name.isdigit()))
        places.append(left[fits.to_numpy()])
        left = left[~fits.to_numpy()]
    for pattern in fmt.skip_lines:
        skipped = column[left].str.contains(anchored(pattern)).to_numpy()
        refused |= dict.fromkeys(left[skipped].tolist(), Reason.NO_COMMUNICATION)
        left = left[~skipped]
    refused |= dict.fromkeys(left.tolist(), Reason.LINE_FORM)
    if not frames:
        return Cut(pl.DataFrame(), np.array([], np.int64), sorted(refused.items()))
    at = np.concatenate(places)
    order = np.argsort(at)
    return Cut(pl.concat(frames, how="diagonal")[order], at[order], sorted(refused.items()))


def cut_line(value: bytes, fmt: Format) -> dict[str, str] | str:
    """Cut one line; return its parts by name, those that are not there left out, or the reason as a text."""
    found = cut_lines([value], fmt)
    if found.refused:
        return found.refused[0][1]
    return record_of(found.parts.row(0, named=True))


def record_of(parts: dict[str, str | None]) -> dict[str, str]:
    """Return the parts that are there."""
    return {name: text for name, text in parts.items() if text is not None}
