"""Checkpoints as C2SP tlog-checkpoint v1.0.0 defines them, and the message that ML-DSA-44 signs of one."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from lethe.schemas.errors import IntegrityError

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_ROOT = re.compile(r"[A-Za-z0-9+/]{43}=")
_LABEL = b"subtree/v1\n\x00"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log was at one time: its origin (name), its size, its root (32 bytes)."""

    origin: str
    size: int
    root: bytes
    extension: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the text that is signed: three lines, and an extension line each."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), root, *self.extension))

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the text of a checkpoint; raises `IntegrityError` for any that is malformed."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
            raise IntegrityError("checkpoint: at least three lines and none that is empty are expected")
        origin, size, root, *extension = lines[:-1]
        if not _SIZE.fullmatch(size):
            raise IntegrityError("checkpoint: the size is not a number")
        if not _ROOT.fullmatch(root):
            raise IntegrityError("checkpoint: the root is not a hash")
        checkpoint = cls(origin, int(size), base64.b64decode(root), tuple(extension))
        if str(checkpoint) != text:
            raise IntegrityError("checkpoint: the root is not in its one spelling")
        return checkpoint


def cosigned_message(name: str, time: int, checkpoint: Checkpoint) -> bytes:
    """Return the `cosigned_message` of C2SP tlog-cosignature: what ML-DSA-44 signs under the name `name`.

    `time` is in seconds since 1970, or 0 when nothing is said of it. Extension lines are not part of the
    message. Raises `ValueError` when the name or the origin is empty or longer than 255 bytes.
    """
    return b"".join(
        (
            _LABEL,
            _short(name),
            time.to_bytes(8, "big"),
            _short(checkpoint.origin),
            (0).to_bytes(8, "big"),
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


def _short(text: str) -> bytes:
    data = text.encode()
    if not 1 <= len(data) <= 255:
        raise ValueError("names and origins have 1 to 255 bytes")
    return bytes([len(data)]) + data
