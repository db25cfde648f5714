"""People named inside records that are about somebody else: a client's own reference, a description, a message id.

Nothing leads to such a place but reading: every page of a month's originals and window fields is opened and searched, a
column at a time. That is what an erasure does, and a hold on a person when something is about to be deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from lethe.keys.tokens import message_token
from lethe.schemas.position import Position
from lethe.schemas.subjects.spellings import Spellings, suspects
from lethe.tiers.delta.log import DataFile
from lethe.tiers.delta.rewrite import files_of, read_file
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.mentions import readings
from lethe.tiers.window.positions import Positions
from lethe.tiers.window.records import PAGES, Part, open_entries, within

FIELDS: Final = "fields"
"""The form of an entry that is a JSON object of window fields; every other form is an original."""


@dataclass(slots=True)
class Scan:
    """A look through pages for several people at once. What was searched once and had nothing is not searched again."""

    warehouse: Warehouse
    sought: Sequence[Spellings | None]
    on_records: Callable[[int], None] = field(default=lambda _: None)
    searched: int = 0
    _clean: set[str] = field(default_factory=set)

    def clean(self, path: str) -> bool:
        """Tell whether a file was searched and had nothing of anybody."""
        return path in self._clean

    def entries(
        self, part: Part, only: Positions | None = None, files: Sequence[DataFile] | None = None
    ) -> Iterator[list[dict[Position, list[dict[str, Any]]]]]:
        """Yield page by page, for each sought, the entries that name it, by record; of records `only`, in `files`."""
        wanted = [s for s in self.sought if s is not None]
        if not wanted:
            return
        for path, page, near in self._pages(part, only, files):
            entries = open_entries(page, part.keys)
            self.searched += entries.num_rows
            self.on_records(self.searched)
            values = entries.column("value").combine_chunks()
            found: list[dict[Position, list[dict[str, Any]]]] = [{} for _ in self.sought]
            for entry in entries.filter(suspects(values, wanted)).to_pylist():
                position = Position(page["stream"], page["partition"], entry["offset"], entry["index"])
                texts = readings(entry["value"])
                for sought, naming in zip(self.sought, found, strict=True):
                    if sought is not None and sought.found_in(texts) and (near is None or position in near):
                        naming.setdefault(position, []).append(entry)
                        self._clean.discard(path)
            if any(found):
                yield found

    def _pages(
        self, part: Part, only: Positions | None, files: Sequence[DataFile] | None
    ) -> Iterator[tuple[str, dict[str, Any], set[Position] | None]]:
        """Yield the pages to be searched: the file's path, the page, and which of the records `only` may be in it."""
        if files is None:
            table = self.warehouse.window["originals"]
            table.reload()
            files = files_of(table, part.partition)
        for file in files:
            if file.path in self._clean:
                continue
            rows = read_file(self.warehouse.objects, "originals", file)
            if only is None:
                self._clean.add(file.path)
            for batch in () if rows is None else rows.to_batches(max_chunksize=PAGES):
                for page in batch.to_pylist():
                    near = None if only is None else within(only, page)
                    if near is None or near:
                        yield file.path, page, None if near is None else set(near)


def without_mentions(entry: dict[str, Any], sought: Spellings) -> tuple[bytes | None, list[str]]:
    """Say what is left of an entry that names a person, and the texts that were taken out.

    Of window fields those that name them go; an original cannot be kept in part, since its hash is of all of it.
    """
    value: bytes = entry["value"]
    if not sought.found_in(readings(value)):
        return value, []
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None, [value.decode("utf-8", "replace"), *_cells(value)]
    gone = [t for t in texts_in(document) if sought.found_in(readings(t.encode("utf-8", "replace")))]
    if entry["form"] != FIELDS or not isinstance(document, dict):
        return None, gone
    left = {k: v for k, v in document.items() if not set(texts_in(v)) & set(gone)}
    # What reads as a mention only across two fields is none that could be told apart: then all of it goes.
    cleaned = orjson.dumps(left) if left and gone else None
    if cleaned is not None and sought.found_in(readings(cleaned)):
        cleaned = None
    return cleaned, gone


def tokens_of_ids(part: Part, sought: Spellings | None, entries: Iterable[dict[str, Any]]) -> set[bytes]:
    """Return the tokens that texts naming the person have if one of them is the record's message id."""
    gone = {t for e in entries if sought is not None for t in without_mentions(e, sought)[1]}
    return {message_token(part.keys, text) for text in gone}


def texts_in(document: Any) -> Iterator[str]:
    """Yield every text in a JSON document; numbers as they are written."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield key
            yield from texts_in(value)
    elif isinstance(document, list):
        for value in document:
            yield from texts_in(value)
    elif isinstance(document, str):
        yield document
    elif document is not None and not isinstance(document, bool):
        yield str(document)


def _cells(line: bytes) -> list[str]:
    """Say what a delimited line may have as cells."""
    return [cell.strip('"') for cell in line.decode("utf-8", "replace").split(",")]
