"""A read without a durable audit entry cannot happen: with real disks that refuse, are full, are gone, or hang."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from audit_world import NOW, AuditWorld

from lethe.operations.asker import Asker
from lethe.operations.intake import quarantine
from lethe.operations.intake.ingest import ingest
from lethe.operations.oversight import entries
from lethe.operations.proof.evidence import evidence
from lethe.operations.retention import hold
from lethe.operations.rights import erase, export, restrict
from lethe.operations.runtime import Runtime
from lethe.operations.window.lookup import lookup, lookup_held
from lethe.operations.window.reveal import reveal
from lethe.schemas.errors import ConfigurationError, LetheError, TransientError
from lethe.schemas.position import Position
from lethe.tiers.evidence.log_store import LogStore

HER = "+923001234567"
EVE = Asker.of("eve", "F-1", "fraud")
_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 24, 1, 2


def record(number: int) -> dict[str, Any]:
    return {
        "messageId": f"m-{number}", "to": HER, "from": "ACME", "sentAt": "2026-10-20T10:00:00.000+0000",
        "doneAt": "2026-10-20T10:00:02.000+0000", "status": {"groupName": "DELIVERED", "name": "DELIVERED_TO_HANDSET"},
    }  # fmt: skip


@pytest.fixture
def filled(world: AuditWorld) -> AuditWorld:
    path = world.folder / "in.ndjson"
    path.write_text("".join(json.dumps(record(n)) + "\n" for n in range(3)) + '{"broken": true}\n')
    ingest(world.runtime, str(path), "infobip/sms-report", as_declared=True)
    assert len(lookup(world.runtime, EVE, HER).records) == 3
    hold.place(world.runtime, EVE, hold.Order("Court", "HC-1", NOW.replace(year=2027), people=[HER]))
    return world


def reads(runtime: Runtime) -> dict[str, Callable[[], object]]:
    """Everything that shows something of a person, or changes it."""
    position = Position.parse(lookup(runtime, EVE, HER).records[0]["record"])
    (broken,) = quarantine.listed(runtime, None, None, 10)
    rejected = Position.parse(broken.record)
    return {
        "lookup": lambda: lookup(runtime, EVE, HER),
        "lookup --hold": lambda: lookup_held(runtime, EVE, HER, "HC-1"),
        "reveal": lambda: reveal(runtime, EVE, position),
        "evidence": lambda: evidence(runtime, EVE, position),
        "quarantine show": lambda: quarantine.show(runtime, EVE, rejected),
        "quarantine show --reveal": lambda: quarantine.reveal(runtime, EVE, rejected),
        "hold show": lambda: hold.show(runtime, EVE, "HC-1"),
        "export": lambda: export.export(runtime, EVE, HER),
        "erase --dry-run": lambda: erase.preview(runtime, EVE, HER),
        "erase": lambda: erase.erase(runtime, EVE, HER),
        "restrict": lambda: restrict.restrict(runtime, EVE, HER),
        "audit disclosures": lambda: entries.disclosures(runtime, EVE, HER, entries.Filter(), pytest.fail),
    }


@pytest.mark.parametrize("kind", [ConfigurationError, TransientError])
def test_whatever_the_store_answers_nothing_is_shown_without_an_entry(
    filled: AuditWorld, monkeypatch: pytest.MonkeyPatch, kind: type[LetheError]
) -> None:
    asked = reads(filled.runtime)

    def refuses(*_: object) -> None:
        raise kind("the store refuses")

    for step in ("put", "swap"):
        with monkeypatch.context() as patch:
            patch.setattr(LogStore, step, lambda self, *a, was=getattr(LogStore, step): (  # noqa: B008
                refuses() if self._named == "audit" else was(self, *a)))  # fmt: skip
            for what, ask in asked.items():
                with pytest.raises(kind, match="without an entry there is no answer"):
                    pytest.fail(f"{what} answered {ask()!r}")
    assert len(lookup(filled.runtime, EVE, HER).records) == 3, "nor was anything erased or restricted"


def without_override() -> None:
    """Let rights of files count for root, too."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0:
        for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
            assert libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0, ctypes.get_errno()


def command(world: AuditWorld, audit: Path) -> subprocess.CompletedProcess[bytes]:
    """Look somebody up with `lethe lookup`, for whom the rights of files count."""
    (world.folder / "lethe.toml").write_text(
        f'root = "{world.folder}/warehouse"\nkeys_dir = "{world.keys}"\naudit_dir = "{audit}"\n'
    )
    return subprocess.run(
        [str(Path(sys.executable).parent / "lethe"), "lookup", HER, "--case", "C", "--purpose", "p"],
        cwd=world.folder, capture_output=True, timeout=120, preexec_fn=without_override,
    )  # fmt: skip


@pytest.mark.parametrize("what", ["audit", "key directory"])
def test_a_place_that_is_read_only(filled: AuditWorld, what: str) -> None:
    place = filled.audit if what == "audit" else filled.keys / "audit.signed"
    folders = [place, *(p for p in place.rglob("*") if p.is_dir())]
    for folder in folders:
        folder.chmod(0o500)
    done = command(filled, filled.audit)
    for folder in folders:
        folder.chmod(0o700)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"without an entry there is no answer" in done.stderr
    assert filled.findings() == []
    assert command(filled, filled.audit).returncode == 0


def test_a_place_that_is_gone_in_the_middle(filled: AuditWorld) -> None:
    asked = reads(filled.runtime)["lookup"]
    filled.audit.rename(filled.folder / "elsewhere")
    filled.audit.write_text("a file in the way")
    with pytest.raises(LetheError, match="without an entry there is no answer"):
        pytest.fail(f"answered {asked()!r}")


def test_a_full_disk(filled: AuditWorld) -> None:
    asked = reads(filled.runtime)["lookup"]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))
        with pytest.raises(LetheError, match="without an entry there is no answer"):
            pytest.fail(f"answered {asked()!r}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert filled.findings() == []
    asked()


def test_a_disk_that_hangs_keeps_the_answer_back(filled: AuditWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = reads(filled.runtime)["lookup"]
    synced, go_on = os.fsync, threading.Event()
    hangs = threading.Event()

    def hanging(descriptor: int) -> None:
        hangs.set()
        assert go_on.wait(60)
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", hanging)
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(asked()))
    thread.start()
    assert hangs.wait(60)
    time.sleep(0.2)
    assert answers == []
    go_on.set()
    thread.join(60)
    assert len(answers) == 1


def test_the_command_prints_nothing_without_an_entry(filled: AuditWorld) -> None:
    done = command(filled, filled.folder / "in.ndjson")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"without an entry there is no answer" in done.stderr
