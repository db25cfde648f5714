"""The worked examples of C2SP tlog-tiles, and the tile paths of Go's sumdb/tlog at a tile height of 8."""

from __future__ import annotations

import pytest

from lethe.integrity.log.tiles import (
    ENTRIES,
    decode_bundle,
    edge_tiles,
    encode_bundle,
    number_path,
    parse_tile_path,
    tile_path,
)


def test_the_number_of_the_specification() -> None:
    assert number_path(1_234_067) == "x001/x234/067"


@pytest.mark.parametrize(
    ("path", "tile"),
    [
        ("tile/0/001", (0, 1, 256)),
        ("tile/0/001.p/5", (0, 1, 5)),
        ("tile/5/x123/x456/078", (5, 123_456_078, 256)),
        ("tile/5/x123/x456/078.p/2", (5, 123_456_078, 2)),
        ("tile/0/x003/x057/500", (0, 3_057_500, 256)),
        ("tile/entries/x003/x057/500", (ENTRIES, 3_057_500, 256)),
        ("tile/63/000.p/255", (63, 0, 255)),
    ],
)
def test_tile_paths(path: str, tile: tuple[int | str, int, int]) -> None:
    assert tile_path(*tile) == path
    assert parse_tile_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/5/123/456/078",
        "tile/-1/000",
        "tile/64/000",
        "tile/00/000",
        "tile/0/x000/001",
        "tile/0/1",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000/",
        "tile/data/000",
        "checkpoint",
        "",
    ],
)
def test_what_is_no_tile_path(path: str) -> None:
    with pytest.raises(ValueError, match="tile"):
        parse_tile_path(path)


def test_the_tree_of_70000_of_the_specification() -> None:
    # 273 full tiles and one of 112 at level 0, one full and one of 17 at level 1, one of 1 at level 2.
    assert edge_tiles(70_000) == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]


def test_the_tree_of_256_of_the_specification() -> None:
    assert edge_tiles(256) == [(1, 0, 1)]


def test_entries_are_prefixed_by_their_length_big_endian() -> None:
    assert encode_bundle([b"", b"ab", b"x" * 258]) == b"\x00\x00\x00\x02ab\x01\x02" + b"x" * 258
    assert decode_bundle(encode_bundle([b"", b"ab"])) == [b"", b"ab"]
    assert decode_bundle(encode_bundle([b"x" * 65_535])) == [b"x" * 65_535]
    with pytest.raises(ValueError, match="65535"):
        encode_bundle([b"x" * 65_536])
