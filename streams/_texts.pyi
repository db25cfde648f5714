from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

MOST_COLUMNS: Final[int]
MOST_BUFFERS: Final[int]

_Column = tuple[bytes, pa.Buffer | None, int, pa.Buffer, list[pa.Buffer]]

def joined(
    values: list[bytes] | list[bytes | None], ends: npt.NDArray[np.int64], least: int, most: int
) -> bytes | None: ...
def objects(
    columns: list[_Column], given: list[bytes | None]
) -> tuple[bytes, bytes, bytes, bytes | None]: ...
def times(column: _Column, rows: int) -> tuple[bytes, bytes]: ...
