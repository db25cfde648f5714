"""Publishing the log of one topic-partition: derived from the commits alone, each time to the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial

from lethe.integrity.log import merkle
from lethe.integrity.log.checkpoint import Checkpoint
from lethe.integrity.log.entries import (
    Entry,
    Log,
    LogCommit,
    leaf_path,
    of_replays,
    outside_path,
    replay_order,
)
from lethe.integrity.log.leaves import GROUPED, decode, digest, encode_whole
from lethe.integrity.log.note import Note
from lethe.integrity.log.signing import Signer
from lethe.integrity.log.store import CHECKPOINT, Memory, Reader, Store, log_origin, open_checkpoint, remember
from lethe.integrity.log.tiles import (
    ENTRIES,
    WIDTH,
    decode_bundle,
    edge_root,
    encode_bundle,
    grow,
    parse_tile_path,
    tile_path,
)
from lethe.schemas.errors import IntegrityError


def publish(
    store: Store,
    signer: Signer,
    stream: str,
    partition: int,
    commits: Iterable[LogCommit],
    now: int,
    memory: Memory | None = None,
) -> Note | None:
    """Bring a topic-partition's log up to date and return its signed checkpoint (None for a log without
    entries).

    `commits` are in order of their offsets (in the log of replays, of `replay_order`); those that are in the log
    already may be among them, none that is not may be left out. `now` is in seconds since 1970 and only goes into a
    new signature.

    1. Open what is published. It must lead to the checkpoint that was signed, or nothing more is signed.
    2. Leave out the commits that are in the log, after comparing them. Of the others take the leaf file that is there
       already, if an earlier release has put one of all leaf hashes; if it has put the entry and the file is gone, make
       it again. What is going to be signed must continue the checkpoint that `memory` has: of a log that is gone or cut
       back nothing is signed below what was, and nothing else than what was.
    3. Put the leaf files and files of rows out of scope, then the entries, then the tiles. A crash in between leaves
       objects that no checkpoint speaks of; the next run puts the same bytes again.
    4. Swap in the signed checkpoint: from here on the entries are published.
    5. Note the checkpoint in `memory`. A crash before it leaves an older one there, from which the log has grown.
    6. Delete the unfinished tiles that a full one has replaced. A crash here leaves some behind, to no harm.

    Raises `IntegrityError` rather than sign a log that contradicts one it has signed (a split view), and
    `FencedError` when someone else has published meanwhile.
    """
    origin = log_origin(signer.name, stream, partition)

    # 1
    noted = memory.signed(origin) if memory else None  # first: others may publish and note more meanwhile
    signed = store.get(CHECKPOINT)
    log = Log(store, signer.history, origin, signed) if signed is not None else None
    size = log.size if log else 0
    edge = {level: list(hashes) for level, hashes in log.tiles.edge.items()} if log else {}

    # 2
    left = cache(lambda number: _left_behind(store, number))
    new: list[LogCommit] = []
    for commit in _not_in(log, origin, commits):
        number, place = divmod(size + len(new), WIDTH)
        new.append(_as_left(store, origin, commit, partial(_at, left, number, place)))
    entries = [bytes(commit.entry) for commit in new]
    old_entries = log.bundle(size // WIDTH) if log and size % WIDTH else []
    _check_leftovers(store, origin, size // WIDTH, old_entries + entries)
    hashed = [merkle.leaf_hash(entry) for entry in entries]
    if noted is not None:
        known = open_checkpoint(noted, signer.history, origin)[1]
        if size + len(new) < known.size:
            raise IntegrityError(
                f"the log {origin} has {size} entries, but {known.size} were signed: "
                "bring its folder back from the backup; nothing was signed"
            )
        if _root_at(log, size, edge, hashed, known.size) != known.root:
            raise IntegrityError(
                f"the log {origin} does not continue the checkpoint of {known.size} entries that was signed: "
                "bring its folder and what it is of back from the backup; nothing was signed"
            )
    if not new and (log is None or log.signed_by == len(signer.history.sets) - 1):
        if log and memory:
            remember(memory, signer.history, origin, bytes(log.note))
        return log.note if log else None

    # 3
    for commit in new:
        if commit.leaf_file:
            store.put(leaf_path(origin, commit.entry), commit.leaf_file)
        if commit.outside_file:
            store.put(outside_path(origin, commit.entry), commit.outside_file)
    pending = old_entries + entries
    for at in range(0, len(pending) if new else 0, WIDTH):
        bundle = pending[at : at + WIDTH]
        store.put(tile_path(ENTRIES, (size + at) // WIDTH, len(bundle)), encode_bundle(bundle))
    full = []
    for path, tile in grow(size, edge, hashed):
        store.put(path, tile)
        full += [path] if ".p/" not in path else []

    # 4
    checkpoint = Checkpoint(origin, size + len(new), edge_root(edge))
    note = signer.sign(checkpoint, now)
    store.swap(CHECKPOINT, signed, bytes(note))

    # 5
    if memory:
        remember(memory, signer.history, origin, bytes(note))

    # 6
    for path in full:
        level, number, _ = parse_tile_path(path)
        for folder in (path, tile_path(ENTRIES, number)) if level == 0 else (path,):
            for replaced in store.list(f"{folder}.p"):
                store.delete(replaced)
    return note


def _root_at(
    log: Log | None, size: int, edge: Mapping[int, Sequence[bytes]], added: Sequence[bytes], at: int
) -> bytes:
    """Compute the root of the tree of `at` entries: those of the log, of `size`, and of the leaf hashes added to it."""
    if log and at <= size:
        return log.tiles.root_at(at)
    grown = {level: list(hashes) for level, hashes in edge.items()}
    list(grow(size, grown, added[: at - size]))
    return edge_root(grown)


def _not_in(log: Log | None, origin: str, commits: Iterable[LogCommit]) -> Iterator[LogCommit]:
    """Yield the commits that are not in the log yet, all of them after its last entry."""
    replays = of_replays(origin)
    newest = log.entry(log.size - 1) if log and log.size else None
    for commit in commits:
        entry = commit.entry
        where = f"offsets {entry.first_offset} to {entry.last_offset} of {entry.stream}/{entry.partition}"
        if not replays and not origin.endswith(log_origin("", entry.stream, entry.partition)):
            raise IntegrityError(f"the commit of {where} does not belong into the log {origin}")
        told = entry.outside
        if digest(commit.leaf_file) != entry.leaves or (told and digest(commit.outside_file) != told.file):
            raise IntegrityError(f"the leaf file is not that of the commit of {where}")
        if newest is None or _comes_after(entry, newest, replays):
            yield commit
            newest = entry
            continue
        if log is None or not _holds(log, commit, replays):
            raise IntegrityError(f"the log {origin} holds another commit of {where}: nothing was signed")


def _comes_after(entry: Entry, newest: Entry, replays: bool) -> bool:
    if replays:
        return replay_order(entry) > replay_order(newest)
    return entry.first_offset > newest.last_offset


def _holds(log: Log, commit: LogCommit, replays: bool) -> bool:
    if replays:
        return commit.entry in log.entries()
    published = log.covering(commit.entry.first_offset)
    return published is not None and published[1] in (
        commit.entry,
        _as_left(log.reader, log.origin, commit).entry,
    )


def _as_left(
    reader: Reader, origin: str, commit: LogCommit, left_entries: Callable[[], Sequence[bytes]] = list
) -> LogCommit:
    """Return the commit with the leaf file of all leaf hashes that an earlier release has put; as it is if there is
    none.

    That release may have put the entry as well, or published it. `left_entries` are those at the commit's place in the
    log: one of them may be of such a leaf file that is gone.
    """
    entry = commit.entry
    whole, commit = commit.whole, replace(commit, whole=None)  # the rows are not held any longer
    there = reader.get(leaf_path(origin, entry)) if commit.leaf_file[:1] == bytes([GROUPED]) else b""
    if there is None and whole and any(left != bytes(entry) for left in left_entries()):
        again = whole()
        made = replace(entry, leaves=digest(again))
        return replace(commit, entry=made, leaf_file=again) if bytes(made) in left_entries() else commit
    if not there or there == commit.leaf_file:
        return commit
    try:
        left, ours = (decode(data, entry.first_offset) for data in (there, commit.leaf_file))
    except IntegrityError:
        return commit
    leaves = [group.root for group in left.groups]
    same = left.whole and left.rows == ours.rows and left.root() == entry.commitment.root
    if not same or encode_whole(left.rows, leaves, entry.first_offset) != there:
        return commit
    return replace(commit, entry=replace(entry, leaves=digest(there)), leaf_file=there)


def _left_behind(store: Store, number: int) -> dict[str, list[bytes]]:
    """Return the bundles of this number that an interrupted publication left, in their several widths, by path."""
    path = tile_path(ENTRIES, number)
    return {found: decode_bundle(store.get(found) or b"") for found in (path, *store.list(f"{path}.p"))}


def _at(left: Callable[[int], dict[str, list[bytes]]], number: int, place: int) -> list[bytes]:
    return [bundle[place] for bundle in left(number).values() if place < len(bundle)]


def _check_leftovers(store: Store, origin: str, number: int, entries: Sequence[bytes]) -> None:
    """Check that what an interrupted publication left behind is what is published now.

    Otherwise the checkpoint was put back to an older one, or removed, and signing on would make a split view.
    """
    for at in range(0, len(entries), WIDTH):
        ours = entries[at : at + WIDTH]
        for found, theirs in _left_behind(store, number + at // WIDTH).items():
            both = min(len(ours), len(theirs))
            if ours[:both] != theirs[:both]:
                raise IntegrityError(
                    f"{found} of the log {origin} is not what its checkpoint leads to: "
                    "bring back the newest checkpoint; nothing was signed"
                )
