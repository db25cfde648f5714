"""Produce what a hold keeps, for the authority that ordered it: records, originals, evidence, and what was gone before.

manifest.json        the hold, who produced it when and why, what is in the folder and what is withheld
records.ndjson       a record a line: metadata, parties in clear, message id; records.csv the same for people
originals/NAME       the bytes of each record as received, or what was kept of them
evidence/NAME.json   evidence of each record in integrity scope; `lethe verify-evidence` checks it anywhere
gone/N.json          certificates of what had gone before the hold was placed; `lethe certificates verify` checks them
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.x509 import Certificate

from lethe.integrity.log.signing import KeyHistory
from lethe.operations.asker import Asker, record
from lethe.operations.proof.publisher import publication_of, stamp_roots
from lethe.operations.proof.signer import load_signer
from lethe.operations.proof.signing import history_of
from lethe.operations.runtime import Runtime
from lethe.operations.window.visibility import hidden_people
from lethe.schemas.csv_text import csv_lines
from lethe.schemas.errors import InputError, IntegrityError, LetheError
from lethe.schemas.position import Position
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.certificates import certificates
from lethe.tiers.evidence.proof import evidence_of
from lethe.tiers.holds import produce
from lethe.tiers.holds.definition import Hold
from lethe.tiers.holds.holds import Holds
from lethe.tiers.holds.scope import held_roles
from lethe.tiers.window.lookup import Query

_AT_ONCE: Final = 500
_PACKED: Final = "hold-packed-"
_A_DAY: Final = 86_400
_CSV: Final = (
    "record", "event_time", "channel", "direction", "account", "status_group", "country", "network", "route", "parties",
    "message_id", "preserved", "rejected", "action", "method", "path", "status",
)  # fmt: skip


@dataclass(slots=True)
class Produced:
    """What was produced, counted; `withheld` records name somebody who is restricted, and need a reason of law."""

    hold: str
    reference: str
    records: int = 0
    originals: int = 0
    evidence: int = 0
    withheld: int = 0
    gone: int = 0
    manifest_sha256: str = ""
    without_evidence: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Packed:
    """What was produced, in one ZIP on this machine's disk until it is removed."""

    produced: Produced
    file: Path

    def remove(self) -> None:
        """Remove it, once it was handed over."""
        shutil.rmtree(self.file.parent, ignore_errors=True)


def export_packed(runtime: Runtime, asker: Asker, reference: str) -> Packed:
    """Produce everything a hold keeps as one ZIP in a folder of its own.

    Raises as `export` does, and `LetheError` for more records than the asker's grant has rows for.

    What an earlier one left there when its process ended is removed first, when it is a day old.
    """
    place = runtime.exports
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in place.glob(f"{_PACKED}*"):
            if runtime.clock().timestamp() - left.stat().st_mtime > _A_DAY:
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=_PACKED, dir=place))
    except OSError as error:
        raise LetheError(f"{place} cannot be written: {error.strerror}") from None
    try:
        produced = export(runtime, asker, reference, folder / "hold")
        asker.takes(produced.records)
        with zipfile.ZipFile(folder / "hold.zip", "x", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
            for name in _files_of(folder / "hold"):
                packed.write(folder / "hold" / name, name)
        shutil.rmtree(folder / "hold")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Packed(produced, folder / "hold.zip")


def _files_of(folder: Path, inside: str = "") -> Iterator[str]:
    """Yield the files below a folder by their paths in it, in order; of names alone, there are two for each record."""
    for name in sorted(path.name for path in (folder / inside).iterdir()):
        path = f"{inside}{name}"
        if (folder / path).is_dir():
            yield from _files_of(folder, f"{path}/")
        else:
            yield path


def check_new(folder: Path) -> None:
    """Raise `InputError` for a folder that has something in it."""
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty: choose a new directory")


def unpack(file: Path, folder: Path) -> None:
    """Write the files of a packed hold into a new folder, for its owner alone.

    Raises `InputError` for a folder with something in it, `IntegrityError` for a name that leads out of the folder.
    """
    with zipfile.ZipFile(file) as packed:
        names = packed.namelist()
        if any(Path(n).is_absolute() or ".." in Path(n).parts for n in names):
            raise IntegrityError("the file holds names that lead out of the folder: nothing was written")
        check_new(folder)
        for name in names:
            path = folder / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(new, "wb") as out, packed.open(name) as data:
                shutil.copyfileobj(data, out)


def export(
    runtime: Runtime,
    asker: Asker,
    reference: str,
    folder: Path,
    on_records: Callable[[int], None] = lambda _: None,
) -> Produced:
    """Produce everything a hold keeps into a new folder, for its owner alone.

    Raises `InputError` for a folder with something in it, `LetheError` when there is no such hold or the disk refuses.

    1. Write the audit entry: from here on somebody may have seen it. A crash later leaves a folder without a manifest.
    2. Write records, originals, evidence and the certificates of what was gone; before some of them are written, an
       audit entry says who is told of.
    3. Write the manifest, which names every file by its SHA-256.
    4. Write the audit entry of what was produced, with the digest of the manifest.
    """
    asker.needs_reason()
    hold = Holds(runtime.objects, runtime.ring).find(reference)
    produced = Produced(hold.id, hold.reference)
    out, history = _Folder.new(folder), history_of(runtime)
    roots = stamp_roots(runtime.settings.integrity)
    # Step 1
    record(runtime, asker, "hold.export", hold=hold.id, reference=hold.reference, law=asker.law)
    # Step 2
    with out.open("records.ndjson") as file:
        for one in _told(runtime, asker, hold, _records(runtime, asker, hold, produced)):
            name = one["record"].replace("/", "@")
            if (original := produce.original_of(one)) is not None:
                out.write(f"originals/{name}", original[0])
                produced.originals += 1
            _add_evidence(runtime, history, roots, out, name, one, original, produced)
            file.write(orjson.dumps(_line(one, original)) + b"\n")
            on_records(produced.records)
    out.note("records.ndjson")
    with out.open("records.csv") as file, (folder / "records.ndjson").open("rb") as written:
        file.writelines(csv_lines(_CSV, (_for_people(orjson.loads(line)) for line in written)))
    out.note("records.csv")
    for certificate in produce.gone_before(runtime.objects, hold):
        number = int(certificate["number"])
        out.write(f"gone/{number}.json", runtime.objects.get(certificates.path_of(number)) or b"")
        produced.gone += 1
    # Step 3
    manifest = {
        "hold": hold.id, "reference": hold.reference, "authority": hold.authority,
        "placed": hold.placed.isoformat(), "since": hold.scope.since, "until": hold.scope.until,
        "produced": runtime.clock().astimezone(UTC).isoformat(), "by": asker.who, "case": asker.case,
        "purpose": asker.purpose, "law": asker.law,
        "counts": {n: getattr(produced, n) for n in ("records", "originals", "evidence", "withheld", "gone")},
        "without_evidence": produced.without_evidence,
        "files": out.digests,
    }  # fmt: skip
    data = orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n"
    out.write("manifest.json", data)
    produced.manifest_sha256 = sha256(data).hexdigest()
    # Step 4
    record(
        runtime, asker, "hold.export.done", hold=hold.id, reference=hold.reference, law=asker.law,
        count=produced.records, withheld=produced.withheld, manifest=produced.manifest_sha256,
    )  # fmt: skip
    return produced


def _records(runtime: Runtime, asker: Asker, hold: Hold, produced: Produced) -> Iterator[dict[str, Any]]:
    if load_signer(runtime.settings.keys_dir) is not None:
        publication_of(runtime).run()  # what is not published yet has no evidence, and is counted so
    hidden = Query(tuple(hidden_people(runtime, asker)), None)
    holds = Holds(runtime.objects, runtime.ring)
    found = produce.records(runtime.warehouse, holds, runtime.ring, hold, hold.scope, runtime.clock())
    for one in found:
        if hidden.subjects and held_roles(one, hidden):
            produced.withheld += 1
            continue
        produced.records += 1
        yield one


def _told(
    runtime: Runtime, asker: Asker, hold: Hold, records: Iterator[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield records once an audit entry names, by tokens, the people they tell of."""
    while some := list(islice(records, _AT_ONCE)):
        people = {Subject(i["kind"], i["value"]) for one in some for i in one["identifiers"]}
        record(runtime, asker, "hold.export.told", about=people, hold=hold.id, count=len(some))
        yield from some


def _add_evidence(
    runtime: Runtime,
    history: KeyHistory,
    roots: Sequence[Certificate],
    out: _Folder,
    name: str,
    one: dict[str, Any],
    original: tuple[bytes, str] | None,
    produced: Produced,
) -> None:
    why = None
    if not (one["metadata"] or {}).get("integrity_hash"):
        why = "not in integrity scope"
    else:
        kept = (original[0], bytes.fromhex(one["salt"])) if original and "salt" in one else None
        try:
            found = evidence_of(
                runtime.warehouse, runtime.ring, history, Position.parse(one["record"]), runtime.clock(),
                roots, kept,
            )  # fmt: skip
            out.write(f"evidence/{name}.json", found.file)
            produced.evidence += 1
        except IntegrityError:
            why = "its commit is not in the integrity log, or its archive row is gone or altered"
    if why is not None:
        produced.without_evidence[why] = produced.without_evidence.get(why, 0) + 1


def _line(one: dict[str, Any], original: tuple[bytes, str] | None) -> dict[str, Any]:
    rejected = {k: v for k, v in (one.get("quarantine") or {}).items() if k not in ("value", "form")}
    return {
        "record": one["record"],
        "metadata": one["metadata"],
        "parties": one["identifiers"],
        "message_id": one.get("message_id"),
        "original": None if original is None else original[1],
        "rejected": rejected or None,
        "preserved": one["preserved"],
    }


def _for_people(one: dict[str, Any]) -> dict[str, Any]:
    parties = "; ".join(f"{i['role']} {i['kind']} {i['value']}" for i in one["parties"])
    rejected = (one["rejected"] or {}).get("reason")
    return {**(one["metadata"] or {}), **one, "parties": parties, "rejected": rejected}


@dataclass
class _Folder:
    """A new folder for one owner, and the digests of what was written into it."""

    path: Path
    digests: dict[str, str] = field(default_factory=dict)

    @classmethod
    def new(cls, path: Path) -> _Folder:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise InputError("--out: the folder has something in it already; give a new one")
            for name in ("originals", "evidence", "gone"):
                (path / name).mkdir(mode=0o700)
        except OSError as error:
            raise LetheError(f"{path}: {error.strerror}") from None
        return cls(path)

    def open(self, name: str) -> Any:
        """Open a new file for its owner alone."""
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            return os.fdopen(os.open(self.path / name, flags, 0o600), "wb")
        except OSError as error:
            raise LetheError(f"{self.path}: {error.strerror}") from None

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file."""
        try:
            with self.open(name) as file:
                file.write(data)
        except OSError as error:
            raise LetheError(f"{self.path}: {error.strerror}") from None
        self.digests[name] = sha256(data).hexdigest()

    def note(self, name: str) -> None:
        """Note the digest of a file that was written piece by piece."""
        with (self.path / name).open("rb") as file:
            state = sha256()
            while chunk := file.read(1 << 20):
                state.update(chunk)
        self.digests[name] = state.hexdigest()
