"""The checks of `lethe doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import pyarrow.compute as pc

from lethe.console.cli.shell import Shell
from lethe.console.cli.signing import history_of
from lethe.operations.proof.publisher import stamp_roots
from lethe.operations.proof.signer import load_signer
from lethe.schemas.compiled import native
from lethe.schemas.declaration import format as formats
from lethe.schemas.errors import LetheError
from lethe.streams.worker.topics import Streams, identify
from lethe.tiers.evidence.log_state import log_states
from lethe.tiers.evidence.log_store import published_history
from lethe.tiers.holds.holds import Holds
from lethe.tiers.replay.lease import begun
from lethe.tiers.retention import clock_guard as clockguard


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found, and what to do about it."""

    what: str
    state: Literal["ok", "warning", "wrong"]
    found: str
    advice: str = ""


def checks(here: Shell) -> Iterator[Check]:
    """Every check, cheapest first; one that fails does not keep the others from running."""
    for what, look in (
        ("configuration", _configuration),
        ("reader", _reader),
        ("keys", _keys),
        ("warehouse", _warehouse),
        ("clock", _clock),
        ("ledger", _ledger),
        ("replay", _replay),
        ("integrity log", _integrity_log),
        ("holds", _holds),
        ("retention", _retention),
        ("broker", _broker),
    ):
        try:
            yield from look(here, what)
        except LetheError as error:
            yield Check(what, "wrong", str(error))


def _configuration(here: Shell, what: str) -> Iterator[Check]:
    settings = here.settings
    for name in settings.sources.values():
        formats.get(name)
    yield Check(
        what, "ok", f"{len(settings.sources)} source(s), warehouse {settings.root}, keys {settings.keys_dir}"
    )


def _reader(_: Shell, what: str) -> Iterator[Check]:
    if native() is not None:
        yield Check(what, "ok", "compiled: records in the usual spelling are read in one pass")
    else:
        yield Check(what, "warning", "not compiled: every record takes the way of the unusual ones, a fifth more work",
                    "install Lethe where there is a C compiler (`cc`)")  # fmt: skip


def _keys(here: Shell, what: str) -> Iterator[Check]:
    now = here.runtime.clock()
    keys = here.runtime.ring.list(now)
    states = {state: sum(k.state == state for k in keys) for state in ("live", "ended", "destroyed")}
    text = ", ".join(f"{count} {state}" for state, count in states.items())
    if states["ended"]:
        yield Check(
            what, "warning", text, "ended months are refused already; `lethe expire` destroys their keys"
        )
    else:
        yield Check(what, "ok", f"{_providers(here)}: {text}")


def _providers(here: Shell) -> str:
    providers = here.runtime.providers
    return "; ".join(providers.get(name).describe() for name in providers.names)


def _warehouse(here: Shell, _: str) -> Iterator[Check]:
    warehouse = here.runtime.warehouse
    tables = {"metadata": warehouse.metadata, "ledger": warehouse.ledger, **warehouse.window}
    for name, table in tables.items():
        files = table.delta.file_uris()
        many = len(files) > 2_000
        yield Check(
            f"table {name}", "warning" if many else "ok", f"version {table.version}, {len(files):,} file(s)",
            "many small files make look-ups slow; compact the table" if many else "",
        )  # fmt: skip


def _clock(here: Shell, what: str) -> Iterator[Check]:
    now = here.runtime.clock()
    warehouse = here.runtime.warehouse
    times = warehouse.ledger.delta.to_pyarrow_dataset().to_table(columns=["committed_time"])
    newest = pc.max(times.column("committed_time")).as_py() if times.num_rows else None
    if newest is not None and newest > now + timedelta(minutes=5):
        yield Check(what, "wrong", f"{now:%Y-%m-%d %H:%M} UTC, but a commit was made at {newest:%Y-%m-%d %H:%M} UTC",
                    "set the clock before anything is expired")  # fmt: skip
    else:
        yield Check(what, "ok", f"{now:%Y-%m-%d %H:%M:%S} UTC")


def _ledger(here: Shell, what: str) -> Iterator[Check]:
    rows = here.runtime.warehouse.ledger.delta.to_pyarrow_dataset().to_table(
        columns=["records", "rejected", "gap"]
    )
    records, rejected = (int(pc.sum(rows.column(c)).as_py() or 0) for c in ("records", "rejected"))
    gaps = rows.num_rows - rows.column("gap").null_count
    text = f"{records:,} records, {rejected:,} rejected, {gaps} accepted gap(s)"
    if records and rejected > records / 100:
        yield Check(what, "warning", text, "more than 1 % rejected: `lethe quarantine list` says why")
    else:
        yield Check(what, "ok", text)


def _replay(here: Shell, what: str) -> Iterator[Check]:
    unfinished = begun(here.runtime.objects)
    if unfinished:
        yield Check(what, "warning", f"begun {unfinished[0]}, not ended",
                    "if none is running it was interrupted; `lethe quarantine replay` finishes it")  # fmt: skip
    else:
        yield Check(what, "ok", "none is under way")


def _holds(here: Shell, what: str) -> Iterator[Check]:
    now = here.runtime.clock()
    active = Holds(here.runtime.objects, here.runtime.ring).active()
    overdue = [h for h in active if h.overdue(now)]
    text = f"{len(active)} in force, {len(overdue)} overdue for review"
    if overdue:
        names = ", ".join(h.reference for h in overdue[:5])
        yield Check(what, "warning", text, f"review {names}; `lethe hold release` ends a hold")
    else:
        yield Check(what, "ok", text)


def _retention(here: Shell, what: str) -> Iterator[Check]:
    now, last = here.runtime.clock(), clockguard.last_run(here.runtime.objects)
    if last is None:
        yield Check(what, "ok", "no sweep has run yet")
    elif abs(now - last) > timedelta(days=1):
        said = f"the last sweep ran {last:%Y-%m-%d %H:%M} UTC"
        yield Check(
            what, "warning", said, "is a worker running? `lethe expire` says what keeps it from forgetting"
        )
    else:
        yield Check(what, "ok", f"the last sweep ran {last:%Y-%m-%d %H:%M} UTC")


def _integrity_log(here: Shell, what: str) -> Iterator[Check]:
    """Is every log there, up to date and stamped? Only their ends are looked at; `lethe verify` looks at all."""
    settings = here.settings.integrity
    stamp_roots(settings)
    if load_signer(here.settings.keys_dir) is None and published_history(here.runtime.objects) is None:
        yield Check(what, "ok", "no signing keys yet; lethe keys init makes them, as does the first record")
        return
    history = history_of(here)
    if history.name != settings.log_name:
        yield Check(what, "warning", f"the keys sign as {history.name}, integrity.log_name says {settings.log_name}",
                    "a log keeps its name for ever; set integrity.log_name back")  # fmt: skip
    late = timedelta(seconds=2 * settings.timestamp_seconds) if settings.timestamp_url else None
    states = list(log_states(here.runtime.warehouse, history, here.runtime.clock(), late))
    for state in states:
        if state.trouble:
            yield Check(f"{what} {state.name}", "wrong", state.trouble, "lethe verify says what was altered")
    behind = [s for s in states if s.behind and not s.trouble]
    unstamped = [s for s in states if s.unstamped]
    said = f"{len(states)} log(s), {sum(s.entries for s in states):,} commit(s)"
    if behind:
        yield Check(what, "warning", f"{said}; {len(behind)} of them behind the ledger",
                    "a running worker publishes what is missing; so does its next start")  # fmt: skip
    if unstamped:
        yield Check(what, "warning", f"{said}; {len(unstamped)} without a time stamp for too long",
                    "does the authority at integrity.timestamp_url answer?")  # fmt: skip
    if not behind and not unstamped:
        yield Check(what, "ok", said)


def _broker(here: Shell, what: str) -> Iterator[Check]:
    settings = here.settings
    identities = identify(settings, settings.sources)
    yield Check(what, "ok", f"{settings.bootstrap} answers, {len(identities)} topic(s) are there")
    Streams(here.runtime.warehouse.sources(), settings, identities).check(accept_gap=False)
