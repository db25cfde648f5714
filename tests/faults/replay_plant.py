"""A plant whose declarations change: what was rejected by yesterday's is replayed by today's."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from plant import Plant, batch_of
from workers import traffic

from lethe.integrity.verify.findings import Finding
from lethe.keys.pages import open_page
from lethe.operations.intake.replay import replay
from lethe.operations.proof.publisher import publication_of
from lethe.operations.proof.signer import load_signer
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.schemas.declaration import format as formats
from lethe.schemas.retention.calendar import Month
from lethe.streams.transform.batch import Source
from lethe.tiers.commit.ledger_entries import REPLAYED
from lethe.tiers.evidence.verification import Verifier
from lethe.tiers.replay.replay import Replayed, Wanted

ACME = "acme/sms"
GOOD = (
    (Path(__file__).parents[2] / "schemas/formats/infobip-sms-report.toml")
    .read_text("utf-8")
    .replace('name = "infobip/sms-report"', f'name = "{ACME}"')
)
DEMANDING = GOOD.replace('path = "callbackData"\n', 'path = "callbackData"\nrequired = true\n').replace(
    'path = "mccMnc"\n', 'path = "mccMnc"\nrequired = true\n'
)
"""Rejects single records, elements of envelopes among them."""
FLAT = GOOD.replace('envelope = "results"\n', "")
"""Rejects every envelope as a whole."""
SOURCE = Source("cdr", 0, "cluster/cdr/0", ACME)
OTHER = Source("cdr", 1, "cluster/cdr/1", ACME)
SENT = datetime.now(UTC).replace(day=1) - timedelta(days=5)
HER = "923001234567"


def report(number: int, to: str | None = HER, **more: Any) -> dict[str, Any]:
    """One delivery report of Infobip's shape."""
    sent = SENT + timedelta(seconds=number)
    record = {
        "messageId": f"m-{number:08d}", "to": to, "sender": "ACME",
        "sentAt": sent.strftime("%Y-%m-%dT%H:%M:%S.000+0000"), "doneAt": sent.strftime("%Y-%m-%dT%H:%M:%S.500+0000"),
        "messageCount": 1, "price": {"pricePerMessage": 0.02, "currency": "EUR"},
        "status": {"groupName": "DELIVERED", "name": "DELIVERED_TO_HANDSET"}, **more,
    }  # fmt: skip
    return {name: value for name, value in record.items() if value is not None}


def values(count: int = 120) -> list[tuple[str, bytes | None]]:
    """Traffic with rubbish and envelopes; and an envelope of which one element is no record of anybody."""
    found: list[tuple[str, bytes | None]] = [
        *traffic(count, seed=8, malformed=0.08, envelope=0.15),
    ]
    mixed = {"results": [report(1), report(2, to=None), report(3, callbackData="c", mccMnc="41001")]}
    return [
        ("either", json.dumps(mixed).encode()),
        *((label, v) for label, v in found if b"\n" not in (v or b"")),
    ]


@dataclass
class ReplayPlant(Plant):
    settings: dict[str, Any] = field(default_factory=dict)

    def declare(self, *texts: str) -> None:
        """Today's declarations."""
        folder = self.directory / "formats"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, text in enumerate(texts):
            (folder / f"{number}.toml").write_text(text, "utf-8")

    def runtime(self) -> Runtime:
        given: dict[str, Any] = {"sources": {"cdr": ACME}, **self.settings}
        settings = Settings(
            root=str(self.directory / "warehouse"), keys_dir=self.directory / "keys",
            formats_dir=self.directory / "formats", **given,
        )  # fmt: skip
        return Runtime(settings, clock=self.now)

    def records(self, source: Source, values: Any, first: int = 0) -> list[bytes | None]:
        bare = super().records(source, values, first)
        for at, (label, _) in enumerate(values):
            if label == "either":
                message = self.produced[len(self.produced) - len(values) + at]
                self.produced[len(self.produced) - len(values) + at] = type(message)(
                    message.stream, message.partition, message.offset, message.value
                )
        return bare

    def take_in(
        self, source: Source, some: Sequence[bytes | None], size: int = 50, publish: bool = True
    ) -> None:
        """Commit the values of a source as a worker does, by the declarations of now."""
        runtime = self.runtime()
        declared = formats.get(source.format)
        done = runtime.warehouse.position(source.id)
        for at in range(0 if done is None else done + 1, len(some), size):
            batch = batch_of(source, at, some[at : at + size])
            runtime.warehouse.commit([runtime.transform.process(batch, declared)], runtime.ring)
        if publish:
            assert not publication_of(runtime).run().failures

    def replay(self, reason: str | None = None, fmt: str | None = None, dry_run: bool = False) -> Replayed:
        done, trouble = replay(self.runtime(), Wanted(reason, fmt), dry_run)
        assert trouble is None, trouble
        return done

    def verify(self) -> list[Finding]:
        runtime = self.runtime()
        signer = load_signer(runtime.settings.keys_dir)
        assert signer is not None
        return list(Verifier(runtime.warehouse, signer.history, runtime.settings.retention, self.now()).run())

    def twin(self, directory: Path) -> ReplayPlant:
        """An empty plant with the same keys: what it seals and hashes can be compared."""
        other = ReplayPlant(directory, self.ahead, settings=self.settings)
        # Not what the other warehouse has signed: this one begins a history of its own.
        apart = shutil.ignore_patterns("log.signed", "ledger.key")
        shutil.copytree(self.directory / "keys", directory / "keys", ignore=apart)
        shutil.copytree(self.directory / "warehouse" / "_keys", directory / "warehouse" / "_keys")
        return other

    def copy(self, directory: Path) -> ReplayPlant:
        """The same, to be gone on with in another way."""
        shutil.copytree(self.directory, directory, dirs_exist_ok=True)
        return ReplayPlant(directory, self.ahead, list(self.produced), self.settings)

    def table(self, name: str) -> list[dict[str, Any]]:
        """A table's rows, in one order; the originals opened, and without the minute in which they arrived."""
        runtime = self.runtime()
        handle = runtime.warehouse.metadata if name == "metadata" else runtime.warehouse.window[name]
        rows = handle.stored.to_pyarrow_dataset().to_table().to_pylist()
        for row in rows:
            row.pop("ingested_at", None)
        if name == "originals":
            rows = [
                {**{n: page[n] for n in ("stream", "partition", "month", "window_months")}, **entry}
                for page in rows
                for entry in open_page(
                    runtime.ring.keys_for(Month.parse(page["month"]), page["window_months"]), "originals",
                    page["stream"], page["partition"], page["first_offset"], page["last_offset"], page["page"],
                ).to_pylist()
            ]  # fmt: skip
        return sorted(
            rows, key=lambda r: (r["stream"], r["partition"], r["offset"], r["index"] or 0, repr(r))
        )

    def moved(self) -> list[dict[str, Any]]:
        """The ledger's transfer rows."""
        rows = self.runtime().warehouse.ledger.stored.to_pyarrow_dataset().to_table().to_pylist()
        return [row for row in rows if row["source"] == REPLAYED]


_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["lethe.operations.intake.replay", "lethe.testing.traffic"])


def _run(plant: ReplayPlant, point: str, trouble: Any) -> None:
    if point:
        os.environ["LETHE_FAIL_POINT"] = point
    try:
        plant.replay()
    except Exception as error:  # noqa: BLE001
        trouble.put(f"{type(error).__name__}: {error}")


def start(plant: ReplayPlant, point: str = "") -> tuple[Any, Any]:
    """Replay in a process of its own; the process and a queue with what was wrong, if anything was."""
    trouble = _SERVER.Queue()
    process = _SERVER.Process(target=_run, args=(plant, point, trouble))
    process.start()
    return process, trouble


def killed_at(point: str, plant: ReplayPlant) -> None:
    """Replay in a process of its own that dies at the point; fails if it does not get there."""
    process, _ = start(plant, point)
    process.join(240)
    if process.is_alive():
        process.kill()
        raise AssertionError(f"a replay hangs before {point}")
    assert process.exitcode == -signal.SIGKILL, f"{point} was not reached"
