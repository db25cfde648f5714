from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

LEAF: Final[int]
OBJECT: Final[int]
LIST: Final[int]
NEVER: Final[int]
FIRST: Final[int]
MOST_NODES: Final[int]
MOST_MEMBERS: Final[int]
MOST_LEAVES: Final[int]
MOST_DISTINCT: Final[int]
MOST_COLUMNS: Final[int]
MOST_BUFFERS: Final[int]

_Column = tuple[bytes, pa.Buffer | None, int, pa.Buffer, list[pa.Buffer]]

def read(
    plan: list[list[tuple[bytes, int, int]]],
    leaves: int,
    data: bytes,
    ends: npt.NDArray[np.int64],
    taken: npt.NDArray[np.bool_],
    arena: npt.NDArray[np.uint8],
    views: npt.NDArray[np.uint8],
    valid: npt.NDArray[np.uint8],
    codes: npt.NDArray[np.uint32],
    firsts: npt.NDArray[np.uint32],
) -> tuple[int, list[int]]: ...
def joined(
    values: list[bytes] | list[bytes | None], ends: npt.NDArray[np.int64], least: int, most: int
) -> bytes | None: ...
def objects(
    columns: list[_Column], given: list[bytes | None]
) -> tuple[bytes, bytes, bytes, bytes | None]: ...
def times(column: _Column, rows: int) -> tuple[bytes, bytes]: ...
def blocks(
    data: bytes | npt.NDArray[Any], ends: npt.NDArray[Any], codes: npt.NDArray[Any] | bytes | None = None
) -> tuple[bytes, bytes]: ...
