"""A Merkle tree kept as tiles of 256 hashes, as C2SP tlog-tiles defines them: paths, growing, reading.

What is read is authenticated on the way: a full tile against the hash it has one level up, the unfinished
right edge against the root of the checkpoint. Storage is not trusted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from lethe.integrity.log import merkle
from lethe.integrity.log.merkle import HASH_SIZE
from lethe.schemas.errors import IntegrityError

WIDTH = 256
ENTRIES = "entries"
MAX_ENTRY = 65_535

Get = Callable[[str], bytes | None]

_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


def number_path(number: int) -> str:
    """Write a number as path elements of three digits: 1234067 is `x001/x234/067`."""
    digits = str(number)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    return "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])


def tile_path(level: int | str, number: int, width: int = WIDTH) -> str:
    """Say where a tile of hashes is kept, or a bundle of entries when `level` is `ENTRIES`."""
    part = "" if width == WIDTH else f".p/{width}"
    return f"tile/{level}/{number_path(number)}{part}"


def parse_tile_path(path: str) -> tuple[int | str, int, int]:
    """Read level (or `ENTRIES`), number and width of a tile from its path; raises `ValueError` when it is none."""
    match = _PATH.fullmatch(path)
    if match:
        level: int | str = match[1] if match[1] == ENTRIES else int(match[1])
        tile = level, int(re.sub(r"[x/]", "", match[2])), int(match[3] or WIDTH)
        if tile_path(*tile) == path and tile[2] <= WIDTH and (level == ENTRIES or int(match[1]) < 64):
            return tile
    raise ValueError("this is no path of a tile")


def tile_width(level: int, number: int, size: int) -> int:
    """Count how many hashes the tile has in a tree of `size` leaves: 0 to 256."""
    return max(0, min(WIDTH, (size >> (8 * level)) - number * WIDTH))


def edge_tiles(size: int) -> list[tuple[int, int, int]]:
    """List level, number and width of the unfinished tiles of a tree, from the leaves up."""
    tiles = []
    level = 0
    while size >> (8 * level):
        width = (size >> (8 * level)) % WIDTH
        if width:
            tiles.append((level, (size >> (8 * level)) // WIDTH, width))
        level += 1
    return tiles


def edge_root(edge: dict[int, list[bytes]]) -> bytes:
    """Return the root of a tree from the hashes in its unfinished tiles, by level."""
    peaks: list[bytes] = []
    for level in sorted(edge, reverse=True):
        start, hashes = 0, edge[level]
        for bit in reversed(range(8)):
            if len(hashes) >> bit & 1:
                peaks.append(merkle.root(hashes[start : start + (1 << bit)]))
                start += 1 << bit
    if not peaks:
        return merkle.EMPTY_ROOT
    node = peaks.pop()
    while peaks:
        node = merkle.node_hash(peaks.pop(), node)
    return node


def split_hashes(data: bytes) -> list[bytes]:
    """Return the hashes of a tile."""
    return [data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)]


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Write entries, each after its length (2 bytes, big-endian). Raises `ValueError` for one over 65,535."""
    if any(len(entry) > MAX_ENTRY for entry in entries):
        raise ValueError(f"a log entry has at most {MAX_ENTRY} bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(data: bytes) -> list[bytes]:
    """Return the entries of a bundle; raises `IntegrityError` when the lengths do not fit."""
    entries = []
    at = 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            raise IntegrityError("a bundle of log entries is cut short")
        entries.append(data[at + 2 : end])
        at = end
    return entries


class TreeTiles:
    """The tiles of a tree of known size and root, authenticated as they are read.

    Raises `IntegrityError`, at once when the right edge does not lead to the root, and later for any tile
    that is missing, cut short or altered; the path is named.
    """

    def __init__(self, get: Get, size: int, root: bytes) -> None:
        self.size = size
        self._get = get
        self.edge = {level: self._read(level, number, width) for level, number, width in edge_tiles(size)}
        self.tile = lru_cache(maxsize=64)(self._tile)
        if edge_root(self.edge) != root:
            raise IntegrityError(
                f"the tiles of the log do not lead to the root of its checkpoint of size {size}"
            )

    def _tile(self, level: int, number: int) -> list[bytes]:
        """Return the hashes of a tile that exists in this tree."""
        width = tile_width(level, number, self.size)
        if width < WIDTH:
            return self.edge[level]
        hashes = self._read(level, number, width)
        if merkle.root(hashes) != self.subtree(level + 1, number):
            raise IntegrityError(f"{tile_path(level, number)} is altered")
        return hashes

    def subtree(self, level: int, index: int) -> bytes:
        """Return the hash of the complete subtree over leaves `index * 256**level` and following."""
        return self.tile(level, index // WIDTH)[index % WIDTH]

    def _read(self, level: int, number: int, width: int) -> list[bytes]:
        data = read_tile(self._get, level, number, width)
        hashes = split_hashes(data)[:width]
        if len(data) % HASH_SIZE or len(hashes) < width:
            raise IntegrityError(f"{tile_path(level, number, width)} is cut short")
        return hashes

    def span(self, low: int, high: int) -> bytes:
        """Return the hash of the subtree over leaves `low` to `high`, as `merkle.inclusion_spans` names them."""
        size = high - low
        if size & (size - 1):
            middle = low + merkle.split(size)
            return merkle.node_hash(self.span(low, middle), self.span(middle, high))
        level, height = divmod(size.bit_length() - 1, 8)
        index = low >> (8 * level)
        start = index % WIDTH
        return merkle.root(self.tile(level, index // WIDTH)[start : start + (1 << height)])

    def inclusion_proof(self, index: int) -> list[bytes]:
        """Prove leaf `index` of this tree; raises `ValueError` when there is none."""
        return [self.span(low, high) for low, high in merkle.inclusion_spans(index, self.size)]

    def consistency_proof(self, old_size: int) -> list[bytes]:
        """Prove that this tree grew from its first `old_size` leaves; `ValueError` for impossible sizes."""
        return [self.span(low, high) for low, high in merkle.consistency_spans(old_size, self.size)]

    def root_at(self, old_size: int) -> bytes:
        """Return the root this tree had with `old_size` leaves; raises `ValueError` for a size it never had."""
        if not 0 <= old_size <= self.size:
            raise ValueError(f"the tree never had {old_size} leaves")
        return self.span(0, old_size) if old_size else merkle.EMPTY_ROOT


def read_tile(get: Get, level: int | str, number: int, width: int) -> bytes:
    """Return the bytes of a tile or bundle; raises `IntegrityError` when it is missing.

    An unfinished one may have been removed once the full one was there: then that one, which begins with it.
    """
    data = get(tile_path(level, number, width))
    if data is None and width < WIDTH:
        data = get(tile_path(level, number))
    if data is None:
        raise IntegrityError(f"{tile_path(level, number, width)} is missing")
    return data


def grow(
    size: int, edge: dict[int, list[bytes]], leaf_hashes: Sequence[bytes]
) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of every tile that is new when leaves are added to a tree of `size` leaves, leaves
    first.

    `edge` holds the unfinished tiles by level and is brought up to date; it must be whole before the tree is
    read.
    """
    level, start, new = 0, size, list(leaf_hashes)
    while new:
        hashes = edge.pop(level, []) + new
        number = (start >> (8 * level)) // WIDTH
        full, rest = divmod(len(hashes), WIDTH)
        roots = []
        for i in range(full):
            tile = hashes[i * WIDTH : (i + 1) * WIDTH]
            roots.append(merkle.root(tile))
            yield tile_path(level, number + i), b"".join(tile)
        if rest:
            edge[level] = hashes[full * WIDTH :]
            yield tile_path(level, number + full, rest), b"".join(edge[level])
        level, new = level + 1, roots
