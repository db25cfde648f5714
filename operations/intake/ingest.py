"""The file feed: newline-delimited records for back-fill, exactly once per content.

A file is known by a fingerprint of its content, so it adds nothing the second time, whatever it is called and however
it is compressed. A plain digest would not do: with one record in it, a file's digest gives its number away to whoever
tries them all. The fingerprint is scrypt (RFC 7914) of the digest, keyed by a key of the ring.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import zstandard

from lethe.keys.ring import KeyRing
from lethe.operations.intake.fit import better
from lethe.operations.intake.received import received, remembered, says_no_year
from lethe.operations.lines import FILE, source_for
from lethe.operations.proof.publisher import publish_now
from lethe.operations.runtime import Runtime
from lethe.operations.telemetry.commits import Commits
from lethe.operations.telemetry.lineage import Lineage
from lethe.schemas.declaration import format as formats
from lethe.schemas.errors import Interrupted, LetheError
from lethe.schemas.transformed import Counts, TransformedBatch
from lethe.schemas.words import counted
from lethe.streams.transform.batch import LOAD_BYTES, Batch, Source
from lethe.tiers.commit.ledger_entries import Hashed
from lethe.tiers.ledger.reconcile import CLOSED
from lethe.tiers.undo.undo import begun, source_of

_STDIN: Final = "-"
_MOST_STDIN: Final = 2 << 30
_MOST_LINE: Final = 16 << 20
_MOST_TIMES: Final = 1_000
_LOOKED_AT: Final = 100
_MOST_EMPTY: Final = 100_000
_RUNS: Final = re.compile(rb"\n+")
_CHUNK: Final = 1 << 20


@dataclass(slots=True)
class Ingested:
    """What became of one file. `already` lines had been ingested before."""

    file: str
    stream: str
    already: int = 0
    counts: Counts = field(default_factory=Counts)
    received: date | None = None  # up to when its records were received, where their times say no year
    log_error: str | None = (
        None  # what kept the integrity log from being published; the records are committed
    )


def ingest(
    runtime: Runtime,
    path: str,
    format_name: str,
    on_bytes: Callable[[int], None] | None = None,
    as_declared: bool = False,
    source_name: str | None = None,
    day_received: date | None = None,
) -> Ingested:
    """Split a file of records and commit it; `on_bytes` is told how many bytes of the file have been read.

    Raises `LetheError` when the file cannot be read and, unless it is to be taken `as_declared`, when its first records
    fit another declaration better or leave most of this one empty: what is taken in wrong has to be taken out again.
    Interrupted, it goes on behind its last commit the next time. `source_name`: of the source whose settings (`lines`)
    hold; without it those of the only source that has the format. `day_received`: up to which the records were
    received, for times that say no year; `InputError` where the year cannot be known without it (`intake.received`).
    """
    fmt = formats.get(format_name)
    content = _Content(path)
    warehouse, settings = runtime.warehouse, runtime.settings
    line = source_for(settings.lines, settings.sources, format_name, source_name)
    warehouse.publish()
    stream = _open_stream(runtime, content)
    source = Source(stream, 0, source_of(stream), format_name)
    done = warehouse.position(source.id)
    if done is None and not as_declared:
        first = [
            line for _, lines in islice(_lines(content, _LOOKED_AT, 0, None), 1) for line in lines if line
        ]
        if (why := better(first, format_name)) is not None:
            raise LetheError(f"{path}: {why}")
    if line is not None and line in settings.lines and done is None:
        runtime.file_sources.note(stream, line)
    up_to = None
    if day_received is not None or says_no_year(fmt):
        up_to = remembered(
            runtime.objects, stream, path, day_received,
            lambda: received(
                path, fmt, lambda: _batches(content, source, 0, settings.flush.batch, None), day_received,
                runtime.clock(),
            ),
        )  # fmt: skip
    report = Ingested(path, source.stream, already=0 if done is None else done + 1)
    report.received = None if up_to is None else up_to.up_to.date()
    received_ms = -1 if up_to is None else up_to.milliseconds
    pending: list[TransformedBatch] = []
    hashes: list[Hashed] = []
    commits = Commits(runtime.traces, Lineage(settings, runtime.clock))
    waiting: deque[Future[TransformedBatch]] = deque()

    def flush(least: int, least_bytes: int) -> None:
        while waiting and (waiting[0].done() or len(waiting) > settings.threads):
            pending.append(waiting.popleft().result())
        if pending and (
            sum(p.counts.messages for p in pending) >= least or sum(p.held for p in pending) >= least_bytes
        ):
            with commits.told(pending):
                hashes.extend(warehouse.commit(pending, runtime.ring))
            for transformed in pending:
                report.counts.add(transformed.counts)
            pending.clear()

    try:
        with closing(commits), ThreadPoolExecutor(settings.threads, thread_name_prefix="split") as pool:
            for batch in _batches(
                content, source, report.already, settings.flush.batch, on_bytes, received_ms
            ):
                waiting.append(pool.submit(runtime.transform.process, batch, fmt))
                flush(settings.flush.records, settings.flush.megabytes * 1_000_000)
            while waiting:
                pending.append(waiting.popleft().result())
            flush(0, 0)
    except KeyboardInterrupt:
        known = report.already + report.counts.messages
        raise Interrupted(
            f"{path}: {counted(known, 'line')} of it or more came in, and the same command goes on behind them"
        ) from None
    warehouse.quality.save()
    _publish(runtime, hashes, report)
    return report


def stream_of(runtime: Runtime, path: str) -> Iterator[str]:
    """Yield what the stream of a file is called: as it was taken in first, after it was taken out once, and so on."""
    yield from _streams(runtime, _Content(path))


def _streams(runtime: Runtime, content: _Content) -> Iterator[str]:
    name = fingerprint(runtime.ring, content.digest())
    yield f"{FILE}{name}"
    yield from (f"{FILE}{name}~{time}" for time in range(2, _MOST_TIMES))


def _open_stream(runtime: Runtime, content: _Content) -> str:
    """Return the stream that a content is taken into: the first that was not taken out again."""
    unfinished = begun(runtime.objects)
    for stream in _streams(runtime, content):
        if stream in unfinished:
            raise LetheError(
                f"{content.path}: to take it out again was begun and not finished; lethe ingest undo goes on with it"
            )
        if runtime.warehouse.position(source_of(stream)) != CLOSED:
            return stream
    raise LetheError(f"{content.path}: it was taken out too often")


def _publish(runtime: Runtime, hashes: list[Hashed], report: Ingested) -> None:
    """Publish the integrity log. A failure does not undo the file, whose records are in; it is told all the same."""
    try:
        failures = publish_now(runtime, hashes).failures
    except LetheError as error:
        report.log_error = str(error)
        return
    for (stream, partition), failure in failures.items():
        report.log_error = f"the log {stream}/{partition} cannot be published: {failure}"


def fingerprint(ring: KeyRing, digest: bytes) -> str:
    """Name a content by 32 hexadecimal digits; keyed, and slow enough that trying numbers does not pay."""
    key = ring.named("ingest", create=True).salt_key.reveal()
    return hashlib.scrypt(digest, salt=key, n=2**14, r=8, p=1, dklen=16).hex()


class _Content:
    """The decompressed content of a file, read twice: once for its fingerprint, once for its records."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._held: bytes | None = None
        self.raw: IO[bytes] | None = None
        if path == _STDIN:
            # In memory: a copy on disk would be one more place where identifiers lie in the clear.
            self._held = sys.stdin.buffer.read(_MOST_STDIN + 1)
            if len(self._held) > _MOST_STDIN:
                raise LetheError("standard input holds more than 2 GiB; give a file instead")

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Open for reading; `.gz` and `.zst` are decompressed."""
        try:
            raw: IO[bytes] = io.BytesIO(self._held) if self._held is not None else Path(self.path).open("rb")  # noqa: SIM115
        except OSError as error:
            raise LetheError(f"{self.path}: {error.strerror}") from None
        with raw:
            self.raw = raw
            if self.path.endswith(".gz"):
                yield gzip.GzipFile(fileobj=raw)
            elif self.path.endswith(".zst"):
                unpacked = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
                yield io.BufferedReader(unpacked)
            else:
                yield raw

    def digest(self) -> bytes:
        """SHA-256 of the content.

        Raises `LetheError` for what cannot be read, and for millions of empty lines or a line beyond measure: a small
        compressed file can have either, and each line is a record that ends in quarantine.
        """
        state = hashlib.sha256()
        lines = empty = length = 0
        last = b"\n"
        with self.open() as file:
            try:
                while chunk := file.read(_CHUNK):
                    state.update(chunk)
                    ends = chunk.count(b"\n")
                    lines += ends
                    # Of a run of n line ends n - 1 lines are empty; the run may go on from the chunk before.
                    empty += ends - len(_RUNS.findall(chunk)) + (last + chunk[:1] == b"\n\n")
                    length = length + len(chunk) if not ends else len(chunk) - chunk.rindex(b"\n") - 1
                    last = chunk[-1:]
                    if empty > _MOST_EMPTY and empty > lines // 2:
                        raise LetheError(
                            f"{self.path}: more than {_MOST_EMPTY:,} of its lines are empty; nothing was taken in: "
                            "remove them, or is it another kind of file?"
                        )
                    if length >= _MOST_LINE:
                        raise LetheError(
                            f"{self.path}: line {lines + 1} is longer than 16 MiB; nothing was taken in: split the "
                            "file differently"
                        )
            except (OSError, EOFError, zstandard.ZstdError) as error:
                raise LetheError(f"{self.path}: cannot be read: {type(error).__name__}") from None
        return state.digest()


def _batches(
    content: _Content,
    source: Source,
    skip: int,
    size: int,
    on_bytes: Callable[[int], None] | None,
    received_ms: int = -1,
) -> Iterator[Batch]:
    """Make batches of lines from line `skip` on; a line's number, from 0, is its offset."""
    sequence, first = 0, skip
    for number, lines in _lines(content, size, skip, on_bytes):
        yield Batch(
            source=source,
            sequence=sequence,
            generation=0,
            first=first,
            last=number + len(lines) - 1,
            offsets=np.arange(number, number + len(lines), dtype=np.int64),
            values=list(lines),
            received_ms=np.full(len(lines), received_ms, np.int64),
            bytes=sum(map(len, lines)),
        )
        sequence, first = sequence + 1, number + len(lines)


def _lines(
    content: _Content, size: int, skip: int, on_bytes: Callable[[int], None] | None
) -> Iterator[tuple[int, list[bytes]]]:
    number, lines, held = 0, [], 0
    with content.open() as file:
        while line := file.readline(_MOST_LINE):
            if len(line) == _MOST_LINE:
                raise LetheError(
                    f"{content.path}: line {number + 1} is longer than 16 MiB; split the file differently"
                )
            if number >= skip:
                lines.append(line.rstrip(b"\n").removesuffix(b"\r"))
                held += len(line)
            number += 1
            if len(lines) >= size or held >= LOAD_BYTES:
                if on_bytes and content.raw is not None:
                    on_bytes(content.raw.tell())
                yield number - len(lines), lines
                lines, held = [], 0
    if lines:
        yield number - len(lines), lines


__all__ = ["Ingested", "fingerprint", "ingest", "stream_of"]
