"""Tails: records that end in the same objects, told apart from what differs, so that the same is read once.

A record as its sender writes it is a row of plain members, then a few objects: a status, an error, a price. What is
plain differs in every record, the objects say the same again and again. A text is cut where its first object begins,
and both parts are closed so that each is JSON by itself:

    {"to":"44…","sentAt":"…","price":{"…":0.1},"status":{…}}
    head: {"to":"44…","sentAt":"…","":null}
    tail: {"price":{"…":0.1},"status":{…}}

If both parts are JSON, so is the text, and its members are those of both. For the head is closed by a name, a value and
one bracket: that is JSON only if a name of the outermost object was due where it was cut, and the tail begins with one.
Whether the parts are JSON is found out when they are read; a text whose parts are not is read whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

_FEW: Final = 2_000  # texts, below which cutting costs more than it saves
_SAMPLE: Final = 400
_OBJECT: Final = '":{'
_CLOSED: Final = '"":null}'
_NULL: Final = "null"


@dataclass(frozen=True, slots=True)
class Cut:
    """Texts in two parts: `heads` one each, `tails` the distinct ones, `codes` (UInt32) which tail each text has.

    A text that was not cut is its own head and has no tail (null).
    """

    heads: pa.LargeStringArray = field(repr=False)
    tails: pa.LargeStringArray = field(repr=False)
    codes: pl.Series = field(repr=False)

    def only(self, which: npt.NDArray[np.bool_]) -> Cut:
        """The same of some of the texts."""
        return Cut(self.heads.filter(pa.array(which)), self.tails, self.codes.filter(pl.Series(which)))

    def without(self, which: npt.NDArray[np.int64], texts: pa.LargeStringArray) -> Cut:
        """The same, with some of the texts not cut."""
        if not len(which):
            return self
        mask = np.zeros(len(self.codes), np.bool_)
        mask[which] = True
        heads = pc.replace_with_mask(self.heads, pa.array(mask), texts.take(pa.array(which)))
        return Cut(heads, self.tails, self.codes.set(pl.Series(mask), None))


def cut(texts: pa.LargeStringArray, objects: Iterable[str]) -> Cut | None:
    """Cut texts (UTF-8) at their first object, if it is one of those names; None where that saves nothing.

    A text with a null before that is left whole: of equal names the first one counts, and a null in the head could not
    be told from a name that is not there.
    """
    if len(texts) < _FEW:
        return None
    sample = np.linspace(0, len(texts) - 1, _SAMPLE, dtype=np.int64)
    names = _worth(texts.take(pa.array(sample)).to_pylist(), frozenset(objects))
    if not names:
        return None
    parts = _parted(texts, names)
    coded = _arrow(parts.get_column("tail")).dictionary_encode()
    tails = _arrow("{" + pl.Series(coded.dictionary.cast(pa.large_string())))
    return Cut(_arrow(parts.get_column("head")), tails, pl.Series(coded.indices).cast(pl.UInt32))


def _worth(sample: list[str], objects: frozenset[str]) -> list[str]:
    """The names texts are to be cut at; none if too few could be cut, or their tails do not repeat themselves."""
    names: set[str] = set()
    tails: list[str] = []
    for text in sample:
        colon = text.find(_OBJECT)
        begin = text.rfind('"', 0, max(0, colon))
        if text[begin + 1 : colon] in objects and text.count("{", 0, begin) == 1:
            names.add(text[begin + 1 : colon])
            tails.append(text[begin:])
    enough = len(tails) > len(sample) / 2 and len(set(tails)) < len(tails) / 2
    return sorted(names) if enough else []


def _parted(texts: pa.LargeStringArray, names: Sequence[str]) -> pl.DataFrame:
    """`head` of each text, closed, and `tail`, not opened: Binary, since there are too many to look at each as text."""
    text, octets, colon, at, head = map(pl.col, ("text", "octets", "colon", "at", "head"))
    frame = pl.Series("text", texts).to_frame()
    frame = frame.with_columns(
        octets=text.cast(pl.Binary), colon=text.str.find(_OBJECT, literal=True).cast(pl.Int64)
    )
    begins = pl.lit(None, pl.Int64)
    for quoted in (f'"{name}'.encode() for name in names):
        begin = colon - len(quoted)
        here = (begin > 0) & (octets.bin.slice(begin, len(quoted)) == quoted)
        begins = pl.when(here).then(begin).otherwise(begins)
    frame = frame.with_columns(at=begins)
    frame = frame.with_columns(head=octets.bin.slice(0, at).cast(pl.String))
    frame = frame.with_columns(at=pl.when(~head.str.contains(_NULL, literal=True)).then(at))
    return frame.select(
        head=pl.when(at.is_null()).then(text).otherwise(pl.concat_str(head, pl.lit(_CLOSED))),
        tail=octets.bin.slice(at),
    )


def _arrow(texts: pl.Series) -> Any:
    return texts.to_arrow(compat_level=pl.CompatLevel.oldest())
