"""Records that were preserved more than once are read once, whatever their number: what is held of each is 20 bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from itertools import chain
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

_NAME: Final = 16  # bytes of a digest: two names have the same one in no warehouse there will ever be

Record: TypeAlias = dict[str, Any]


def each_once(read: Callable[[], Iterator[list[Record]]], said: Callable[[Record], int]) -> Iterator[Record]:
    """Yield the records that `read` reads, of those with one name the first of those that say most.

    `read` is called twice and must read the same both times, some at once: no more than these are in memory.

    1. Read all, and keep a digest of each name and how much is said.
    2. Read all again, and yield those that were chosen.
    """
    names: list[bytes] = []
    amounts: list[npt.NDArray[np.int32]] = []
    # Step 1
    for some in read():
        names.append(b"".join(blake2b(r["record"].encode(), digest_size=_NAME).digest() for r in some))
        amounts.append(np.array([said(r) for r in some], np.int32))
    chosen = _chosen(np.frombuffer(b"".join(names), np.uint64).reshape(-1, 2), amounts)
    del names, amounts
    # Step 2
    for record, yes in zip(chain.from_iterable(read()), chosen, strict=True):
        if yes:
            yield record


def _chosen(names: npt.NDArray[np.uint64], amounts: Sequence[npt.NDArray[np.int32]]) -> npt.NDArray[np.bool_]:
    """Tell of each record whether it is the first of those of its name that say most."""
    chosen = np.zeros(len(names), np.bool_)
    if len(names):
        order = np.lexsort(
            (-np.concatenate(amounts), names[:, 1], names[:, 0])
        )  # stable: the first comes first
        ranked = names[order]
        new = np.ones(len(names), np.bool_)
        new[1:] = (ranked[1:] != ranked[:-1]).any(axis=1)
        chosen[order[new]] = True
    return chosen
