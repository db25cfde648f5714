"""Verify one topic-partition's log: signatures, tiles, entries, earlier checkpoints, stamps, the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from cryptography.x509 import Certificate

from lethe.integrity.log import merkle
from lethe.integrity.log.checkpoint import Checkpoint
from lethe.integrity.log.entries import Entry, Log, of_replays, replay_order
from lethe.integrity.log.signing import KeyHistory
from lethe.integrity.log.stamp import FOLDER, stamped_at, stamps
from lethe.integrity.log.store import CHECKPOINT, Reader, open_checkpoint
from lethe.integrity.log.tiles import (
    ENTRIES,
    WIDTH,
    decode_bundle,
    edge_root,
    grow,
    parse_tile_path,
    read_tile,
    tile_width,
)
from lethe.integrity.verify.findings import Finding, Kind
from lethe.schemas.errors import IntegrityError


def verify_log(
    reader: Reader,
    history: KeyHistory,
    origin: str,
    known: Iterable[bytes] = (),
    stamp_roots: Sequence[Certificate] = (),
) -> Iterator[Finding]:
    """Yield everything that is wrong with a log, without looking at the archive.

    `known` are signed checkpoints of this log seen earlier and kept elsewhere: without any, nobody can tell a
    log that was cut back together with its archive. Time stamps are verified when `stamp_roots` are given,
    and the checkpoints they stamp always. Nothing is raised but what the store raises.
    """
    try:
        log = Log(reader, history, origin)
    except IntegrityError as error:
        yield Finding(Kind.NOT_PROVEN, f"{origin} {CHECKPOINT}", str(error))
        yield from _diagnose(reader, history, origin)
        return
    yield from _entries(log)
    for signed in known:
        yield from _earlier(log, history, signed, "a checkpoint kept elsewhere")
    try:
        for stamped in stamps(reader):
            yield from _earlier(log, history, stamped.note, stamped.path)
            if stamp_roots:
                yield from _stamp(origin, stamped.path, stamped.response, stamped.note, stamp_roots)
    except IntegrityError as error:
        yield Finding(Kind.ALTERED, f"{origin} {FOLDER}", str(error))


def _entries(log: Log) -> Iterator[Finding]:
    """Compare every bundle with its tile, every tile with the one above, every entry with the one before."""
    newest: Entry | None = None
    for number in range(-(-log.size // WIDTH)):
        try:
            log.bundle(number)
        except IntegrityError as error:
            yield Finding(Kind.ALTERED, f"{log.origin} entries {number * WIDTH} and following", str(error))
            continue
        for index in range(number * WIDTH, min(log.size, (number + 1) * WIDTH)):
            where = f"{log.origin} entry {index}"
            try:
                entry = log.entry(index)
            except IntegrityError as error:
                yield Finding(Kind.ALTERED, where, str(error))
                continue
            if newest is not None and (trouble := _disorder(log, entry, newest)):
                yield Finding(Kind.OUT_OF_ORDER, where, trouble)
            if newest is None or _end(log, entry) > _end(log, newest):
                newest = entry


def _end(log: Log, entry: Entry) -> tuple[int | str, ...]:
    return replay_order(entry) if of_replays(log.origin) else (entry.last_offset,)


def _disorder(log: Log, entry: Entry, newest: Entry) -> str | None:
    """Say what is wrong with the place of an entry behind the newest one so far."""
    if of_replays(log.origin):
        after = replay_order(entry) > replay_order(newest)
        return None if after else f"it is of version {entry.version}, not after version {newest.version}"
    after = entry.first_offset > newest.last_offset
    return None if after else f"its offsets begin at {entry.first_offset}, not after {newest.last_offset}"


def _earlier(log: Log, history: KeyHistory, signed: bytes, where: str) -> Iterator[Finding]:
    """Check that an earlier checkpoint is of this log, signed, and one that the log has grown from."""
    where = f"{log.origin} {where}"
    try:
        _, checkpoint, _ = open_checkpoint(signed, history, log.origin)
    except IntegrityError as error:
        yield Finding(Kind.NOT_PROVEN, where, str(error))
        return
    if checkpoint.size > log.size:
        detail = f"it is of {checkpoint.size} entries, the log now has {log.size}"
        yield Finding(Kind.CUT_BACK, where, detail)
        return
    try:
        root = log.tiles.root_at(checkpoint.size)
    except IntegrityError as error:
        yield Finding(Kind.ALTERED, where, str(error))
        return
    if root != checkpoint.root:
        detail = f"two logs of {checkpoint.size} entries were signed: this one and another"
        yield Finding(Kind.SPLIT_VIEW, where, detail)


def _stamp(
    origin: str, path: str, response: bytes, note: bytes, roots: Sequence[Certificate]
) -> Iterator[Finding]:
    try:
        stamped_at(response, note, roots)
    except IntegrityError as error:
        yield Finding(Kind.ALTERED, f"{origin} {path}", str(error))


def _diagnose(reader: Reader, history: KeyHistory, origin: str) -> Iterator[Finding]:
    """Name the tiles that are not what the entries make them, when checkpoint and tiles do not agree."""
    try:
        _, checkpoint, _ = open_checkpoint(reader.get(CHECKPOINT) or b"", history, origin)
    except IntegrityError:
        return  # the checkpoint itself is the finding
    try:
        leaves = _leaf_hashes(reader, checkpoint.size)
    except IntegrityError as error:
        yield Finding(Kind.ALTERED, f"{origin} {ENTRIES}", str(error))
        return
    yield from _compare_tiles(reader, origin, checkpoint, leaves)


def _leaf_hashes(reader: Reader, size: int) -> list[bytes]:
    leaves: list[bytes] = []
    for number in range(-(-size // WIDTH)):
        width = tile_width(0, number, size)
        bundle = decode_bundle(read_tile(reader.get, ENTRIES, number, width))[:width]
        leaves += map(merkle.leaf_hash, bundle)
    return leaves


def _compare_tiles(
    reader: Reader, origin: str, checkpoint: Checkpoint, leaves: Sequence[bytes]
) -> Iterator[Finding]:
    edge: dict[int, list[bytes]] = {}
    tiles = list(grow(0, edge, leaves))
    if edge_root(edge) != checkpoint.root:
        detail = "the entries of the log do not lead to its checkpoint: entries were altered or removed"
        yield Finding(Kind.ALTERED, f"{origin} {ENTRIES}", detail)
    for path, data in tiles:
        level, number, width = parse_tile_path(path)
        try:
            found = read_tile(reader.get, level, number, width)[: len(data)]
        except IntegrityError as error:
            yield Finding(Kind.MISSING, f"{origin} {path}", str(error))
            continue
        if found != data:
            yield Finding(Kind.ALTERED, f"{origin} {path}", "it is not what the entries of the log make it")


_FURTHER = ("out_of_scope", "out_of_scope_root", "declarations")


def _further(entry: Entry) -> tuple[int | None, bytes | None, str | None]:
    """Return what the ledger's row of an entry says of rows out of scope and declarations: nothing in version 1."""
    if entry.outside is None:
        return None, None, None
    c = entry.outside.commitment
    return c.count, c.root, " ".join(digest.hex() for digest in entry.declarations)


def verify_ledger(entries: Iterable[Entry], ledger: pa.Table, where: str) -> Iterator[Finding]:
    """Compare a log with the ledger's rows of its topic-partition (`lethe.schemas.arrow.LEDGER`, in any order).

    The ledger is not signed; but who cuts a log back has to find and change it as well.
    """
    said = ["last_offset", "in_scope", "merkle_root", "rows_sha3_512", "version", *_FURTHER]
    columns = ["stream", "partition", "first_offset", *said, "gap"]
    # Offsets tell the commits of a topic-partition apart. What was replayed from them may be covered several times.
    replays = of_replays(where)
    expected: dict[tuple[int, str, int, int], dict[str, Any]] = {}
    for row in ledger.select(columns).to_pylist():
        version = row["version"] if replays else 0
        expected[version, row["stream"], row["partition"], row["first_offset"]] = row
    for entry in entries:
        commit = f"{where} offsets {entry.first_offset} to {entry.last_offset}"
        version = entry.version if replays else 0
        found = expected.pop((version, entry.stream, entry.partition, entry.first_offset), None)
        if found is None:
            yield Finding(Kind.MISSING, commit, "the ledger has no row of this logged commit")
            continue
        c = entry.commitment
        logged = (entry.last_offset, c.count, c.root, c.sha3_512, entry.version, *_further(entry))
        if logged != tuple(found[name] for name in said):
            yield Finding(Kind.ALTERED, commit, "the ledger's row is not what was logged of this commit")
    for (_, _, _, first), row in sorted(expected.items(), key=lambda item: item[0]):
        # A gap that an operator accepted is a row of the ledger without a commit.
        if row["gap"] is None:
            yield Finding(
                Kind.MISSING, f"{where} offsets {first} to {row['last_offset']}", "the log has no such entry"
            )
