from typing import Any

import numpy.typing as npt

def blocks(
    data: bytes | npt.NDArray[Any], ends: npt.NDArray[Any], codes: npt.NDArray[Any] | bytes | None = None
) -> tuple[bytes, bytes]: ...
