from typing import Final

import pyarrow as pa

MOST_COLUMNS: Final[int]
MOST_BUFFERS: Final[int]

_Column = tuple[bytes, pa.Buffer | None, int, pa.Buffer, list[pa.Buffer]]

def objects(
    columns: list[_Column], given: list[bytes | None]
) -> tuple[bytes, bytes, bytes, bytes | None]: ...
def times(column: _Column, rows: int) -> tuple[bytes, bytes]: ...
