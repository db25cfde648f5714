"""An erasure in parts that run elsewhere: looking through the files of a month, and writing them anew.

A part is told which files, and where its notes lie: whom it is about and what was found of them, sealed under the keys
of the month. So an engine carries no identifier, no token and no position; a worker without the keys can do nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from lethe.keys.ring import KeyRing
from lethe.keys.sealing import open_value, seal_value
from lethe.schemas.errors import FencedError
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.compaction.plan import check_release, release
from lethe.tiers.delta.log import DataFile
from lethe.tiers.delta.rewrite import cleaned_files, files_of, read_file
from lethe.tiers.rights.clean import NO_IDS, Cleaning, ids_of
from lethe.tiers.store.objects import Objects
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.lookup import position_of
from lethe.tiers.window.mentioned import FIELDS, Scan, tokens_of_ids
from lethe.tiers.window.mentions import wanted
from lethe.tiers.window.positions import Positions
from lethe.tiers.window.records import Part, quarantined_value, select_each

LOOK: Final = "erase.look"
CLEAN: Final = "erase.clean"
Spread = Callable[[str, Sequence[Any]], Iterable[Any]]
"""Does tasks of a kind (`LOOK`, `CLEAN`), anywhere, and returns what came of each, in their order."""

FOLDER: Final = "_erasing"
_BYTES: Final = 64 << 20
"""Size of the files that a task looks through, or more where one is larger."""
_NOBODY: Final = Positions()
_PEOPLE: Final = "people"


@dataclass(frozen=True, slots=True)
class Named:
    """Records that name a person in what is kept of them."""

    records: Positions = _NOBODY
    whole: Positions = _NOBODY
    """Those whose original does, which goes whole."""
    ids: pa.Table = field(default_factory=NO_IDS.combine_chunks)
    """What a message id of each would be as token, where it is that which names them."""

    @classmethod
    def all(cls, several: Iterable[Named]) -> Named:
        """Return the records of several."""
        some = list(several)
        return cls(
            Positions.all(one.records for one in some),
            Positions.all(one.whole for one in some),
            pa.concat_tables([NO_IDS, *(one.ids for one in some)]),
        )


@dataclass(slots=True)
class Search:
    """A look through kept texts for people, here; what was searched once and had nothing is not searched again."""

    warehouse: Warehouse
    subjects: tuple[Subject, ...]
    on_records: Callable[[int], None] = field(default=lambda _: None)
    scan: Scan = field(init=False)

    def __post_init__(self) -> None:
        self.scan = Scan(self.warehouse, [wanted(self.subjects).spellings], self.on_records)

    def others(self, part: Part, theirs: Positions, files: Sequence[DataFile] | None = None) -> Named:
        """Return the records of others, not among `theirs`, whose kept texts name a person."""
        return Named.all(self._others(part, theirs, files))

    def _others(self, part: Part, theirs: Positions, files: Sequence[DataFile] | None) -> Iterator[Named]:
        for (naming,) in self.scan.entries(part, files=files):
            near = Positions.each(naming) - theirs
            others = {p: naming[p] for p in near}
            whole = (p for p, entries in others.items() if any(e["form"] != FIELDS for e in entries))
            tokens = {p: tokens_of_ids(part, self.scan.sought[0], entries) for p, entries in others.items()}
            yield Named(near, Positions.each(whole), ids_of(tokens))

    def rejected(self, part: Part) -> Positions:
        """Return the rejected records whose values name a person."""
        rows = select_each(self.warehouse.window["quarantine"], part.rows & pc.field("sealed").is_valid())
        return Positions.each(self.rejected_in(part, rows))

    def rejected_in(self, part: Part, rows: Iterable[Mapping[str, Any]]) -> Iterator[Position]:
        """Yield those of rows whose values name a person."""
        sought = wanted(self.subjects)
        for row in rows:
            value = quarantined_value(dict(row), part.keys)
            if value is not None and sought.named_in(value):
                yield position_of(dict(row))


@dataclass(slots=True)
class SpreadSearch:
    """A look through kept texts for people, as `Search` has it, in tasks."""

    warehouse: Warehouse
    subjects: tuple[Subject, ...]
    notes: Notes
    spread: Spread
    on_records: Callable[[int], None] = field(default=lambda _: None)
    searched: int = 0
    _clean: set[str] = field(default_factory=set)

    def others(self, part: Part, theirs: Positions) -> Named:
        """Return the records of others, not among `theirs`, whose kept texts name a person."""
        files = self._files("originals", part)
        if not files or wanted(self.subjects).spellings is None:
            return Named()
        known = self.notes.put(part, Cleaning("theirs", theirs).pack())
        return Named.all(_named(found) for found in self._look("originals", part, files, {"theirs": known}))

    def rejected(self, part: Part) -> Positions:
        """Return the rejected records whose values name a person."""
        files = self._files("quarantine", part)
        found = self._look("quarantine", part, files, {}) if files else ()
        return Positions.all(one.gone for one in found)

    def _files(self, table: str, part: Part) -> list[DataFile]:
        handle = self.warehouse.window[table]
        handle.reload()
        return [f for f in files_of(handle, part.partition) if f.path not in self._clean]

    def _look(
        self, table: str, part: Part, files: list[DataFile], more: dict[str, Any]
    ) -> Iterator[Cleaning]:
        about = self.notes.people(part, self.subjects)
        shares = list(_shares(files))
        told = {"table": table, **more}
        tasks = [_task(self.notes, part, about, share) | told for share in shares]
        for share, done in zip(shares, self.spread(LOOK, tasks), strict=True):
            self.searched += done["records"]
            self.on_records(self.searched)
            self._clean |= {f.path for f in share} - set(done["files"])
            if done["found"]:
                yield Cleaning.unpack(self.notes.get(part, done["found"]))


@dataclass(frozen=True, slots=True)
class Notes:
    """What parts of one erasure tell each other, sealed; nothing of it stays when the erasure has ended."""

    objects: Objects
    work: str

    def put(self, part: Part, said: bytes, name: str = "") -> str:
        """Keep a note under a name that no other has, and return where it lies."""
        path = f"{FOLDER}/{self.work}/{part.month}.{part.window_months}.{name or secrets.token_hex(8)}"
        self.objects.put(path, seal_value(part.keys, FOLDER, "note", path, said))
        return path

    def get(self, part: Part, path: str) -> bytes:
        """Read a note; raises `FencedError` when it is gone: somebody has ended the erasure, or tidied up behind it."""
        sealed = self.objects.get(path)
        if sealed is None:
            raise FencedError("the erasure that this is a part of has ended; run it again")
        return open_value(part.keys, FOLDER, "note", path, sealed)

    def people(self, part: Part, subjects: tuple[Subject, ...]) -> str:
        """Note whom it is about, and return where."""
        return self.put(part, orjson.dumps([[s.kind, s.value] for s in subjects]), _PEOPLE)

    def whom(self, part: Part, path: str) -> tuple[Subject, ...]:
        """Read whom it is about."""
        return tuple(Subject(*one) for one in orjson.loads(self.get(part, path)))

    def remove(self) -> None:
        """Remove every note of this erasure."""
        self.objects.delete(*self.objects.list(f"{FOLDER}/{self.work}"))


def noted(objects: Objects, parts: Iterable[Part]) -> dict[str, tuple[Subject, ...]]:
    """Say whom each erasure is about of which there are notes; nobody where no keys are left to open them."""
    keys = {(str(part.month), str(part.window_months)): part for part in parts}
    found: dict[str, tuple[Subject, ...]] = {}
    for path in objects.list(FOLDER):
        _, work, name = path.split("/")
        month, months, kind = name.split(".")
        if not found.setdefault(work, ()) and kind == _PEOPLE and (part := keys.get((month, months))):
            try:
                found[work] = Notes(objects, work).whom(part, path)
            except FencedError:
                continue  # it has ended meanwhile
    return found


def begun_at(work: str) -> float:
    """Return when an erasure was begun, which its name says, in seconds since 1970."""
    return float(int(work.split("-")[1], 16))


def work_name(prefix: str, now: datetime) -> str:
    """Name an erasure such that its age is known."""
    return f"{prefix}{int(now.timestamp()):x}-{secrets.token_hex(8)}"


def older_than(work: str, age: timedelta, now: datetime) -> bool:
    """Tell whether an erasure was begun so long ago."""
    return begun_at(work) < (now - age).timestamp()


def cleaned(
    notes: Notes,
    spread: Spread,
    part: Part,
    subjects: tuple[Subject, ...],
    cleaning: Cleaning,
    table: str,
    files: Sequence[DataFile],
    now_ms: int,
) -> tuple[list[DataFile], list[DataFile]]:
    """Have files written anew, each by a task, as `cleaned_files` does."""
    about = notes.people(part, subjects)
    told = {"table": table, "now_ms": now_ms, "cleaning": notes.put(part, cleaning.pack())}
    tasks = [_task(notes, part, about, [file]) | told for file in files]
    old: list[DataFile] = []
    new: list[DataFile] = []
    for file, written in zip(files, spread(CLEAN, tasks), strict=True):
        if written is not None:
            old.append(file)
            new += [DataFile(**raw) for raw in written]
    return old, new


def look(warehouse: Warehouse, ring: KeyRing, task: Any) -> Any:
    """Look through the files of a task where it has come to; says in which of them somebody is named, not whom."""
    part, notes = _opened(warehouse.objects, ring, task)
    search = Search(warehouse, notes.whom(part, task["about"]))
    files = [DataFile(**raw) for raw in task["files"]]
    if task["table"] == "quarantine":
        where: list[str] = []
        rejected: list[Position] = []
        records = 0
        for file in files:
            rows = read_file(warehouse.objects, "quarantine", file)
            kept = [] if rows is None else rows.filter(pc.is_valid(rows.column("sealed"))).to_pylist()
            theirs = list(search.rejected_in(part, kept))
            records += len(kept)
            rejected += theirs
            where += [file.path] if theirs else []
        found = Cleaning("quarantine", Positions.each(rejected)) if rejected else None
    else:
        named = search.others(part, Cleaning.unpack(notes.get(part, task["theirs"])).gone, files)
        records, where = search.scan.searched, [f.path for f in files if not search.scan.clean(f.path)]
        found = Cleaning("others", named.records, named.whole, named.ids) if named.records else None
    return {"records": records, "files": where, "found": found and notes.put(part, found.pack())}


def clean(warehouse: Warehouse, ring: KeyRing, task: Any) -> list[dict[str, Any]] | None:
    """Write the file of a task anew where it has come to; None where nothing of it has to go."""
    part, notes = _opened(warehouse.objects, ring, task)
    subjects = notes.whom(part, task["about"])
    cleaning = Cleaning.unpack(notes.get(part, task["cleaning"])).of(part, subjects)
    files = [DataFile(**raw) for raw in task["files"]]
    old, new = cleaned_files(warehouse.objects, task["table"], files, cleaning, task["now_ms"])
    return [asdict(f) for f in new] if old else None


def _named(found: Cleaning) -> Named:
    return Named(found.gone, found.mentioned, found.ids)


def _task(notes: Notes, part: Part, about: str, files: Sequence[DataFile]) -> dict[str, Any]:
    named = [asdict(f) for f in files]
    return {"release": release(), "work": notes.work, **part.partition, "about": about, "files": named}


def _opened(objects: Objects, ring: KeyRing, task: Any) -> tuple[Part, Notes]:
    check_release(task["release"])
    month, months = Month.parse(task["month"]), int(task["window_months"])
    return Part(month, months, ring.keys_for(month, months)), Notes(objects, task["work"])


def _shares(files: Sequence[DataFile]) -> Iterator[list[DataFile]]:
    share: list[DataFile] = []
    for file in files:
        share.append(file)
        if sum(f.size for f in share) >= _BYTES:
            yield share
            share = []
    if share:
        yield share
