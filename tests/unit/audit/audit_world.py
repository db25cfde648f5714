"""An installation with an audit of its own, and what an attacker does to files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lethe.operations.audit.log import AuditLog, Damage, every
from lethe.operations.audit.paging import Wish, page
from lethe.operations.oversight.verify import Verified, verify, verify_ends
from lethe.operations.proof.audit_anchor import anchor
from lethe.operations.proof.signer import signer_of
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Integrity, Settings

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@dataclass
class AuditWorld:
    """Warehouse, keys and audit below a directory; the clock goes on a second an entry."""

    folder: Path
    now: datetime = NOW
    roots: Path | None = None

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def audit(self) -> Path:
        """Where the audit lies: not in the key directory, so that one can be changed without the other."""
        return self.folder / "audit-store"

    @property
    def runtime(self) -> Runtime:
        """A fresh runtime, as a new process has it."""
        settings = Settings(
            root=str(self.folder / "warehouse"),
            keys_dir=self.keys,
            audit_dir=str(self.audit),
            integrity=Integrity(timestamp_roots=self.roots),
        )
        return Runtime(settings, lambda: self.now)

    @property
    def log(self) -> AuditLog:
        return self.runtime.audit

    def append(self, *cases: str) -> None:
        for case in cases:
            self.now += timedelta(seconds=1)
            self.log.append({"who": "eve", "action": "lookup", "case": case}, self.now)

    def anchor(self) -> int:
        runtime = self.runtime
        _ = runtime.warehouse
        return anchor(runtime, signer_of(runtime))

    def newest(self, limit: int, on_damage: Damage) -> tuple[list[dict[str, Any]], int]:
        """The newest entries, and how many there are in all."""
        found = page(self.log, Wish(every, limit, limit), on_damage)
        return found.entries, found.total

    def cases(self) -> list[str]:
        return [e["case"] for e in self.log.entries()]

    def verify(self) -> Verified:
        return verify(self.runtime)

    def findings(self) -> list[str]:
        """What `lethe audit verify` finds; whatever the ends alone show, all of it shows too."""
        ends, whole = verify_ends(self.runtime).findings, verify(self.runtime).findings
        assert set(ends) <= set(whole)
        return whole

    def files(self) -> list[Path]:
        """The files of the audit, but for lock files, which hold nothing."""
        return [p for p in sorted(self.audit.rglob("*")) if p.is_file() and not p.name.startswith(".")]

    def journal(self, number: int = 0) -> Path:
        (found,) = self.audit.glob(f"*/{number}")
        return found

    def copy(self, name: str) -> Path:
        """Keep a copy of the audit as it is."""
        shutil.copytree(self.audit, self.folder / name)
        return self.folder / name

    def put_back(self, copy: Path) -> None:
        shutil.rmtree(self.audit)
        shutil.copytree(copy, self.audit)


def alterations(path: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """What can be done to one file: a bit of each byte range flipped, cut, emptied, grown, dropped."""
    data = path.read_bytes()
    for at in sorted({0, len(data) // 3, len(data) // 2, len(data) - 1}):
        flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        yield f"flip {at}", lambda flipped=flipped: path.write_bytes(flipped)
    yield "cut", lambda: path.write_bytes(data[:-1])
    yield "empty", lambda: path.write_bytes(b"")
    yield "grow", lambda: path.write_bytes(data + b"\0")
    yield "drop", path.unlink


def fill(world: AuditWorld, count: int) -> None:
    """Append that many entries whose cases are their numbers, without waiting for the disk each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        log = world.log
        for number in range(count):
            log.append({"case": str(number)}, NOW)
