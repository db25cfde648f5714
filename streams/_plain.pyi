from typing import Final

import numpy as np
import numpy.typing as npt

LEAF: Final[int]
OBJECT: Final[int]
LIST: Final[int]
NEVER: Final[int]
MOST_NODES: Final[int]
MOST_MEMBERS: Final[int]
MOST_LEAVES: Final[int]
MOST_DISTINCT: Final[int]

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
