"""Several files as one ZIP: the same bytes, whenever they are packed."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping
from typing import IO, Final

Content = bytes | Iterable[bytes]
"""What is in a file: all of it, or its parts one after the other."""
_LONG_AGO: Final = (1980, 1, 1, 0, 0, 0)


def packed(files: Mapping[str, bytes]) -> bytes:
    """Pack files by name."""
    out = io.BytesIO()
    pack(files, out)
    return out.getvalue()


def parts_of(content: Content) -> Iterable[bytes]:
    """Give the parts of a file."""
    return (content,) if isinstance(content, bytes) else content


def pack(files: Mapping[str, Content], out: IO[bytes], most: int = 0) -> None:
    """Pack files by name into a file that can be rewound; those that are given in parts are held part by part.

    `most`: how many bytes the parts of one file may have together, if they may be more than 2 GiB.
    """
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            info = zipfile.ZipInfo(name, _LONG_AGO)
            info.compress_type = zipfile.ZIP_DEFLATED
            # By it the form for large files is taken.
            info.file_size = len(data) if isinstance(data, bytes) else most
            with archive.open(info, "w") as one:
                for part in parts_of(data):
                    one.write(part)
