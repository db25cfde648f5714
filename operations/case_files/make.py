"""Make a case file: report, tables, drawing, evidence and queries of a case in one signed ZIP.

manifest.json              whose case, who made it and when, period, grant, audit entries, every file's SHA-256
signature.json             checkpoint of one leaf, the manifest, signed with the keys of the integrity log; their chain
report.html, report.pdf    what was found, for people
communications.csv         one row a communication of a target; targets.csv says which target is whom
presets/NAME.csv           what each preset found; queries.sql what each preset is
graph.graphml, graph.svg   the link graph
evidence/RECORD.json       evidence of records in integrity scope; `lethe verify-evidence` checks each alone

Other people are masked in all of these but the evidence, which holds each record in original while its month is open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import orjson
import polars as pl

from lethe.integrity.log import merkle
from lethe.integrity.log.checkpoint import Checkpoint
from lethe.operations.analysis import graph, overview, presets
from lethe.operations.analysis.communications import Read
from lethe.operations.asker import Asker, record
from lethe.operations.audit.log import every
from lethe.operations.audit.paging import Wish, page
from lethe.operations.case_files.check import VERSION, origin
from lethe.operations.documents.blocks import Block, Heading, Picture, Table, Text, html, pdf
from lethe.operations.documents.packed import packed
from lethe.operations.proof.evidence import evidence
from lethe.operations.proof.signer import signer_of
from lethe.operations.runtime import Runtime
from lethe.operations.window.visibility import RestrictedError
from lethe.schemas.csv_text import csv_lines
from lethe.schemas.errors import IntegrityError
from lethe.schemas.position import Position
from lethe.schemas.words import counted

MOST_EVIDENCE: Final = 100
_NEWEST: Final = 2_000


@dataclass(frozen=True, slots=True)
class Facts:
    """What the face knows of the case. `targets` as they were typed, `notes` as (author, time, text)."""

    title: str
    targets: Sequence[str] = field(repr=False)
    notes: Sequence[tuple[str, datetime, str]] = field(repr=False)
    since: datetime
    until: datetime
    grant: str
    positions: Mapping[str, tuple[float, float]]
    keys: Mapping[str, str]


def make(runtime: Runtime, asker: Asker, read: Read, facts: Facts) -> bytes:
    """Make the case file of what was read under a grant of weight; return the ZIP.

    1. Make the evidence: each record's is audited by itself.
    2. Write report, tables and drawing; the manifest names every file by its digest; sign the manifest.
    3. Write the audit entry, with the digest of the manifest. Without it nothing is handed out.
    """
    asker.needs_reason()
    now = runtime.clock()
    # Step 1
    files, without = _evidence(runtime, asker, read)
    proven = len(files)
    # Step 2
    entries = _audit_numbers(runtime, asker)
    files |= _tables(read, facts)
    blocks = _blocks(asker, read, facts, now, proven, without, entries)
    title = f"Case {asker.case}"
    files |= {"report.html": html(title, blocks), "report.pdf": pdf(title, blocks, now)}
    manifest = orjson.dumps(
        {
            "version": VERSION, "case": asker.case, "purpose": asker.purpose, "by": asker.who,
            "made": now.astimezone(UTC).isoformat(timespec="seconds"), "since": facts.since, "until": facts.until,
            "grant": facts.grant, "targets": len(facts.targets), "communications": read.events.height,
            "evidence": proven, "without_evidence": without, "restricted": read.restricted,
            "missing_months": sorted(read.missing), "audit": entries,
            "files": {name: sha256(data).hexdigest() for name, data in sorted(files.items())},
        },
        option=orjson.OPT_INDENT_2,
    )  # fmt: skip
    signer = signer_of(runtime)
    digest = sha256(manifest).hexdigest()
    checkpoint = Checkpoint(origin(signer.name, digest), 1, merkle.root([merkle.leaf_hash(manifest)]))
    signature = {
        "checkpoint": bytes(signer.sign(checkpoint, int(now.timestamp()))).decode(),
        "keys": [bytes(note).decode() for note in signer.history.notes],
    }
    files |= {
        "manifest.json": manifest,
        "signature.json": orjson.dumps(signature, option=orjson.OPT_INDENT_2),
    }
    # Step 3
    record(
        runtime, asker, "case-file", count=read.events.height, evidence=proven, manifest=digest,
        restricted=read.restricted, grant=facts.grant,
    )  # fmt: skip
    return packed(files)


def _evidence(runtime: Runtime, asker: Asker, read: Read) -> tuple[dict[str, bytes], int]:
    """Return the evidence of the newest records in scope, 100 at most, and of how many records there is none."""
    known = read.events.group_by("record").agg(pl.col("time").max(), pl.col("in_scope").any())
    scoped = known.filter("in_scope").sort(["time", "record"], descending=[True, False])["record"].to_list()
    files: dict[str, bytes] = {}
    for name in scoped[:MOST_EVIDENCE]:
        try:
            found = evidence(runtime, asker, Position.parse(name))
        except (IntegrityError, RestrictedError):
            continue
        files[f"evidence/{name.replace('/', '@')}.json"] = found.file
    return files, known.height - len(files)


def _audit_numbers(runtime: Runtime, asker: Asker) -> list[dict[str, Any]]:
    """Name the audit entries of this person under this case, among the newest 2,000: journal, number, time, action."""
    damage: list[str] = []
    entries = page(runtime.audit, Wish(every, _NEWEST, _NEWEST), damage.append).entries
    return [
        {name: e[name] for name in ("log", "number", "time", "action")}
        for e in reversed(entries)
        if e.get("case") == asker.case and e.get("who") == asker.who
    ]


def _tables(read: Read, facts: Facts) -> dict[str, bytes]:
    events = read.events.with_columns(
        masked=pl.col("counterpart").replace_strict(dict(read.people), default=None, return_dtype=pl.String)
    )
    answers = presets.ask_all(read.events)
    files = {
        "communications.csv": _csv(events.columns, events.rows()),
        "targets.csv": _csv(["target", "address"], list(enumerate(facts.targets, 1))),
        "queries.sql": "\n\n".join(
            f"-- {p.title}: {p.asks}\n-- Cannot see: {p.limits}\n{p.query};" for p in presets.PRESETS.values()
        ).encode(),
        **{f"presets/{a.preset.name}.csv": _csv(a.columns, a.rows) for a in answers},
    }
    drawing = graph.graph(read.events, read.targets)
    placed = graph.place(drawing, facts.positions, facts.keys)
    svg = graph.svg(drawing, placed, read.people, facts.keys, standalone=True)
    return files | {
        "graph.svg": svg.encode(),
        "graph.graphml": graph.graphml(drawing, read.people).encode(),
    }


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    return b"".join(csv_lines(tuple(columns), (dict(zip(columns, row, strict=True)) for row in rows)))


def _blocks(
    asker: Asker,
    read: Read,
    facts: Facts,
    now: datetime,
    proven: int,
    without: int,
    entries: Sequence[Mapping[str, Any]],
) -> list[Block]:
    events = read.events
    drawing = graph.graph(events, read.targets)
    placed = graph.place(drawing, facts.positions, facts.keys)
    seen = overview.seen(events, read.targets)
    shared = [
        m for name in overview.DIMENSIONS for m in [overview.matrix(events, read.targets, name)] if m.rows
    ]
    blocks: list[Block] = [
        Text(facts.title or "Without a title"),
        Table(
            ["", ""],
            [
                ["Purpose", asker.purpose], ["Made by", asker.who], ["Made (UTC)", now],
                ["Period (UTC)", f"{facts.since:%Y-%m-%d} to before {facts.until:%Y-%m-%d}"],
                ["Grant, approved by a second person", facts.grant], ["Communications", events.height],
                ["Evidence files", f"{proven:,}; none for {counted(without, 'record')}"],
            ],
        ),
        Text(
            "Other people are masked and named P-…, the same all through this case. The report says what the records "
            "of this platform hold, not what anybody meant. Records that somebody asked not to be shown are left out"
            + (": there are some." if read.restricted else ": there are none.")
            + (f" These months could not be opened: {', '.join(sorted(read.missing))}." if read.missing else "")
        ),
        Heading("Targets"),
        Table(
            ["Target", "Address", "Communications", "First (UTC)", "Last (UTC)", "Days"],
            [[f"T{s.target}", facts.targets[s.target - 1], s.count, s.first, s.last, s.days] for s in seen],
        ),
        Heading("Links"),
        Picture(
            graph.svg(drawing, placed, read.people, facts.keys, standalone=True),
            f"{len(drawing.nodes):,} nodes, {len(drawing.links):,} links; {drawing.dropped:,} not drawn",
        ),
    ]  # fmt: skip
    for matrix in shared:
        common = [r for r in matrix.rows if r.shared > 1]
        if common:
            rows = [[read.people.get(r.value, r.value), r.value, r.shared, r.total] for r in common]
            blocks += [
                Heading(f"In common: {matrix.dimension}"),
                Table([matrix.dimension, "name", "targets", "communications"], rows),
            ]
    bursts = [[f"T{b.target}", b.hour, b.count, b.expected, b.probability] for b in overview.bursts(events)]
    blocks += [
        Heading("Bursts"),
        Text(
            "Poisson tail by the target's own mean per hour, below 0.01 divided by the hours tested; five or more."
        ),
        Table(["Target", "Hour (UTC)", "Communications", "Expected", "Probability"], bursts)
        if bursts
        else Text("None."),
        Heading("Presets"),
    ]
    for answer in presets.ask_all(events):
        found = Table(answer.columns, answer.rows) if answer.rows else Text("Nothing found.")
        blocks += [
            Text(f"{answer.preset.title}. {answer.preset.asks} Cannot see: {answer.preset.limits}"), found
        ]  # fmt: skip
    blocks.append(Heading("Notes"))
    blocks += [Text(f"{author}, {at:%Y-%m-%d %H:%M} UTC: {text}") for author, at, text in facts.notes]
    blocks += [
        Heading("Audit entries"),
        Table(
            ["journal", "number", "time", "action"],
            [[e[n] for n in ("log", "number", "time", "action")] for e in entries],
        ),
    ]
    return blocks
