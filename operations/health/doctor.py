"""The checks of `lethe doctor`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Final, cast

import pyarrow.compute as pc

from lethe.keys.files import is_bare, is_shared, refuse_open
from lethe.keys.memory import locked
from lethe.operations.health import _probes
from lethe.operations.health._bounded import SECONDS, Check, bounded, hanging
from lethe.operations.health._clock import clock
from lethe.operations.health._seen_keys import Marked, SeenKeys
from lethe.operations.keys import give_up
from lethe.operations.keys.check import check_keys
from lethe.operations.oversight.verify import verify_ends
from lethe.operations.proof.publisher import stamp_roots
from lethe.operations.proof.signer import load_signer
from lethe.operations.proof.signing import history_of
from lethe.operations.runtime import Runtime
from lethe.schemas.compiled import native
from lethe.schemas.declaration import format as formats
from lethe.schemas.errors import ConfigurationError, LetheError
from lethe.schemas.sections import Secret
from lethe.schemas.words import counted
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.evidence.log_state import log_states
from lethe.tiers.evidence.log_store import published_history
from lethe.tiers.holds import coverage
from lethe.tiers.holds.holds import Holds
from lethe.tiers.replay.lease import begun
from lethe.tiers.retention import clock_guard as clockguard
from lethe.tiers.rights import restrictions

__all__ = ["Check", "Probe", "checks"]


_ENDS_SOON: Final = timedelta(days=7)
_LOGS_READ: Final = 2
"""How many logs of an object store are read of those that are known to be complete."""

Probe = Callable[[Runtime], Iterator[Check]]
"""Looks at something outside and yields what it found; raises `LetheError` with what is wrong."""


def checks(runtime: Runtime, outside: Mapping[str, Probe]) -> Iterator[Check]:
    """Run every check, cheapest first; one that fails or hangs does not keep the others from running.

    Each tries what the real commands do, and none takes longer than ten seconds for its next finding. Where there is no
    warehouse, none is made: what needs one is left out. So is what needs the store when that does not answer: some of
    its library's calls cannot be left alone while they wait.
    """
    impatient = _impatient(runtime)
    for what, look in (("configuration", _configuration), ("reader", _reader), ("memory", _memory)):
        yield from bounded(what, partial(look, impatient, what))
    found = [*bounded("store", partial(_probes.store, impatient, "store"))]
    found += [] if _wrong(found) else bounded("warehouse", partial(_no_warehouse, impatient, "warehouse"))
    yield from found
    yield from bounded("key directory", partial(_key_directory, impatient, "key directory"))
    yield from bounded("audit log", partial(_audit, impatient, "audit log"))
    yield from bounded("exports", partial(_exports, impatient, "exports"))
    if not _wrong(found) and not any(c.what == "warehouse" for c in found):
        yield from _of_a_warehouse(impatient)
    for what, probe in outside.items():
        yield from bounded(what, partial(probe, runtime))


def _of_a_warehouse(runtime: Runtime) -> Iterator[Check]:
    for number, (what, look) in enumerate(_OF_A_WAREHOUSE):
        found = [*bounded(what, partial(look, runtime, what))]
        yield from found
        if what != "keys" and any(c == hanging(what, SECONDS) for c in found):
            left = ", ".join(what for what, _ in _OF_A_WAREHOUSE[number + 1 :])
            yield Check(
                "warehouse", "wrong", f"the store hangs: not looked at: {left}", "try again when it answers"
            )
            return


def _wrong(found: Iterable[Check]) -> bool:
    return any(check.state == "wrong" for check in found)


def _no_warehouse(runtime: Runtime, what: str) -> Iterator[Check]:
    if not runtime.has_warehouse():
        yield Check(what, "warning", f"there is none at {runtime.settings.root}",
                    "lethe worker and lethe ingest make one; is this the right configuration?")  # fmt: skip


def _configuration(runtime: Runtime, what: str) -> Iterator[Check]:
    settings = runtime.settings
    for name in settings.sources.values():
        formats.get(name)
    yield Check(
        what,
        "ok",
        f"{counted(len(settings.sources), 'source')}, warehouse {settings.root}, keys {settings.keys_dir}",
    )
    for opened in (lambda: runtime.registry, lambda: runtime.traces):
        try:
            opened()
        except ConfigurationError as error:  # a library that is not installed
            yield Check(what, "wrong", str(error))
    for name in sorted(settings.lines.keys() - settings.sources.keys()):
        yield Check(what, "warning", f"lines.{name} is set for no source of the worker: only files are read so",
                    f"give a source that name, or take files in with `lethe ingest --source {name}`")  # fmt: skip


def _reader(_: Runtime, what: str) -> Iterator[Check]:
    if native() is not None:
        yield Check(what, "ok", "compiled: records in the usual spelling are read in one pass")
    else:
        yield Check(what, "warning", "not compiled: every record takes the way of the unusual ones, a fifth more work",
                    "install Lethe anew, where there is a C compiler (`cc`)")  # fmt: skip


def _memory(_: Runtime, what: str) -> Iterator[Check]:
    if locked():
        yield Check(what, "ok", "keys lie in locked memory, core dumps are off")
    else:
        yield Check(what, "warning", "keys cannot be locked in memory: they may be swapped out",
                    "allow 64 kB (`ulimit -l`, LimitMEMLOCK=), or turn swap off")  # fmt: skip


def _key_directory(runtime: Runtime, what: str) -> Iterator[Check]:
    """Look whether keys can be made and destroyed there, as a worker and a sweep do."""
    directory = runtime.settings.keys_dir
    if not directory.is_dir() or is_bare(directory):
        if not runtime.has_warehouse() or not runtime.objects.list("_keys"):
            yield Check(what, "ok", f"nothing is in {directory} yet")
            return
        _ = runtime.key_directory  # says what is wrong with it
    group = runtime.settings.keys_group
    refuse_open("the key directory", directory, group)
    if group is not None and not is_shared(directory):
        yield Check(what, "warning", f"{directory} is for its owner alone: the group {group} cannot read it",
                    f"chgrp {group} {directory}; chmod 2770 {directory}")  # fmt: skip
    yield from _probes.directory(what, directory)
    yield Check(what, "ok", f"a file was written to {directory} and removed")


def _audit(runtime: Runtime, what: str) -> Iterator[Check]:
    """Look whether an entry could be written: without one there is no answer."""
    directory = runtime.audit.directory
    if directory is None:
        runtime.audit.check()
        yield Check(what, "ok", f"{runtime.audit.place} answers")
        return
    there = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    yield from _probes.directory(what, there)
    runtime.audit.check()
    yield Check(what, "ok", f"a file was written to {there} and removed")


def _exports(runtime: Runtime, what: str) -> Iterator[Check]:
    """Look whether a worker could write an export that is asked for by message; nothing else needs the folder."""
    wanted = runtime.exports.absolute()
    there = next(path for path in (wanted, *wanted.parents) if path.exists())
    try:
        yield from _probes.directory(what, there)
    except LetheError as error:
        yield Check(
            what,
            "warning",
            f"{error}: exports asked for by message will fail",
            "set exports_dir to a folder for them",
        )
    else:
        yield Check(what, "ok", f"a file was written to {there} and removed")


def _impatient(runtime: Runtime) -> Runtime:
    """Return a runtime that waits for an object store a few seconds once, where the commands try for minutes."""
    options = {name: Secret(value) for name, value in _IMPATIENCE.items()}
    storage = {n: v for n, v in runtime.settings.storage.items() if _short(n) not in options} | options
    if not runtime.is_far:
        return runtime
    return Runtime(runtime.settings.replaced(storage=storage), runtime.clock)


def _short(option: str) -> str:
    return option.lower().removeprefix("aws_")


def _keys(runtime: Runtime, what: str) -> Iterator[Check | None]:
    now = runtime.clock()
    states = dict.fromkeys(("live", "ended", "destroyed"), 0)
    seen = _seen(runtime)
    ring = runtime.ring if seen is None else runtime.ring_on(seen)
    known = ring.known()  # one look at the store for all of it
    infos, silent = ring.states(now, known)
    for name, trouble in silent.items():
        # Nothing may be wrapped by it yet: then nothing that follows would ask it.
        yield Check(what, "wrong", f"the provider {name} cannot say what it holds: {trouble}",
                    "no new month begins, and none ends for good, until it answers")  # fmt: skip
    for report in check_keys(ring, now, infos, known):
        states[report.state] += 1
        found = Check(f"{what} {report.key_id}", "wrong", report.trouble, report.advice)
        yield found if report.trouble else None
        if report.given_up is not None:
            yield Check(f"{what} {report.key_id}", "warning",
                        f"lost and given up: what came in before {report.given_up:%Y-%m-%d %H:%M} UTC is unreadable",
                        "lethe certificates list has the certificate; the month ends as every other")  # fmt: skip
    if seen is not None:
        seen.keep()
    for said in give_up.said(runtime, known):
        note = f"{said.who} said at {said.since:%Y-%m-%d %H:%M} UTC that it is lost"
        yield Check(f"{what} {said.key_id}", "wrong", note,
                    f"lethe keys give-up {said.key_id} gives it up, with --withdraw it takes that back")  # fmt: skip
    text = ", ".join(f"{count} {state}" for state, count in states.items())
    if states["ended"]:
        yield Check(
            what, "warning", text, "ended months are refused already; `lethe expire` destroys their keys"
        )
    else:
        yield Check(what, "ok", f"{_providers(runtime)}: {text}")


def _seen(runtime: Runtime) -> SeenKeys | None:
    """Return what keeps wrapped keys from being read again that lie as they were; None on a disk."""
    if not runtime.is_far:
        return None
    return SeenKeys(cast(Marked, runtime.objects), runtime.settings.keys_dir)


def _providers(runtime: Runtime) -> str:
    providers = runtime.providers
    return "; ".join(providers.get(name).describe() for name in providers.names)


def _warehouse(runtime: Runtime, _: str) -> Iterator[Check]:
    warehouse = runtime.warehouse
    tables = {"metadata": warehouse.metadata, "ledger": warehouse.ledger, **warehouse.window}
    for name, table in tables.items():
        files = files_of(table)
        many = len(files) > 2_000
        yield Check(
            f"table {name}", "warning" if many else "ok", f"version {table.version}, {counted(len(files), 'file')}",
            "many small files make look-ups slow; compact the table" if many else "",
        )  # fmt: skip


def _ledger(runtime: Runtime, what: str) -> Iterator[Check]:
    rows = runtime.warehouse.ledger.dataset().to_table(columns=["records", "rejected", "gap"])
    records, rejected = (int(pc.sum(rows.column(c)).as_py() or 0) for c in ("records", "rejected"))
    gaps = rows.num_rows - rows.column("gap").null_count
    text = f"{records:,} records, {rejected:,} rejected, {counted(gaps, 'accepted gap')}"
    if records and rejected > records / 100:
        yield Check(what, "warning", text, "more than 1 % rejected: `lethe quarantine list` says why")
    else:
        yield Check(what, "ok", text)


def _replay(runtime: Runtime, what: str) -> Iterator[Check]:
    unfinished = begun(runtime.objects)
    if unfinished:
        yield Check(what, "warning", f"begun {unfinished[0]}, not ended",
                    "if none is running it was interrupted; `lethe quarantine replay` finishes it")  # fmt: skip
    else:
        yield Check(what, "ok", "none is under way")


def _holds(runtime: Runtime, what: str) -> Iterator[Check]:
    now = runtime.clock()
    holds = Holds(runtime.objects, runtime.ring)
    active = holds.active()
    overdue = [h for h in active if h.overdue(now)]
    ending = [h for h in active if h.ends is not None and now >= h.ends - _ENDS_SOON]
    for lost in coverage.known_differences(holds, active):
        said = f"{lost.month}: it covered {counted(lost.said, 'record')}, there are {lost.found}"
        yield Check(f"hold {lost.hold}", "wrong", said,
                    "something took records away that it keeps: bring the tables back from the backup")  # fmt: skip
    for key in sorted(runtime.ring.held("hold.") - {h.key for h in active}):
        advice = "bring its folder of _holds back from the backup, unless a process died as it was placed"
        yield Check(
            f"hold {key.removeprefix('hold.')}", "warning", "its key is there, and no hold has it", advice
        )
    if ending:
        names = ", ".join(h.id for h in ending[:5])
        yield Check(what, "warning", f"{names}: released by the sweep within a week",
                    "`lethe hold extend` gives a hold more days")  # fmt: skip
    text = f"{len(active)} in force, {len(overdue)} overdue for review"
    if overdue:
        names = ", ".join(h.id for h in overdue[:5])  # an order's reference is none of the operator's
        yield Check(what, "warning", text, f"review {names}; `lethe hold extend` or `lethe hold release`")
    else:
        yield Check(what, "ok", text)


def _restrictions(runtime: Runtime, what: str) -> Iterator[Check]:
    kept = len(runtime.ring.restrictions.names())
    if lost := restrictions.missing(runtime.objects, runtime.ring):
        yield Check(what, "wrong", f"of {kept} in force {len(lost)} cannot be found: look-ups show nothing",
                    "bring _restrictions back from the backup; a look-up says what to do without one")  # fmt: skip
    else:
        yield Check(what, "ok", f"{kept} in force")


def _retention(runtime: Runtime, what: str) -> Iterator[Check]:
    now, last = runtime.clock(), clockguard.last_run(runtime.objects)
    if last is None:
        yield Check(what, "ok", "no sweep has run yet")
    elif abs(now - last) > timedelta(days=1):
        said = f"the last sweep ran {last:%Y-%m-%d %H:%M} UTC"
        yield Check(
            what, "warning", said, "is a worker running? `lethe expire` says what keeps it from forgetting"
        )
    else:
        yield Check(what, "ok", f"the last sweep ran {last:%Y-%m-%d %H:%M} UTC")


def _integrity_log(runtime: Runtime, what: str) -> Iterator[Check]:
    """Check that every log is there, up to date and stamped. Only their ends: `lethe verify` looks at all.

    In an object store the ends of some are read, by chance, where what is kept with the keys says that nothing is
    missing: of hundreds of logs each costs some requests.
    """
    settings = runtime.settings.integrity
    stamp_roots(settings)
    if load_signer(runtime.settings.keys_dir) is None and published_history(runtime.objects) is None:
        yield Check(what, "ok", "no signing keys yet; lethe keys init makes them, as does the first record")
        return
    history = history_of(runtime)
    if history.name != settings.log_name:
        yield Check(what, "warning", f"the keys sign as {history.name}, integrity.log_name says {settings.log_name}",
                    "a log keeps its name for ever; set integrity.log_name back")  # fmt: skip
    late = timedelta(seconds=2 * settings.timestamp_seconds) if settings.timestamp_url else None
    few = _LOGS_READ if runtime.is_far else None
    states = list(log_states(runtime.warehouse, history, runtime.clock(), late, few))
    for state in states:
        if state.trouble:
            yield Check(f"{what} {state.name}", "wrong", state.trouble, "lethe verify says what was altered")
    behind = [s for s in states if s.behind and not s.trouble]
    unstamped = [s for s in states if s.unstamped]
    said = f"{counted(len(states), 'log')}, {counted(sum(s.entries for s in states), 'commit')}"
    if (left := sum(not s.read for s in states)) > 0:
        said += f" ({len(states) - left} read by chance, {left} as signed here last)"
    if behind:
        yield Check(what, "warning", f"{said}; {len(behind)} of them behind the ledger",
                    "a running worker publishes what is missing; so does its next start")  # fmt: skip
    if unstamped:
        yield Check(what, "warning", f"{said}; {len(unstamped)} without a time stamp for too long",
                    "does the authority at integrity.timestamp_url answer?")  # fmt: skip
    if not behind and not unstamped:
        yield Check(what, "ok", said)


def _audit_ends(runtime: Runtime, what: str) -> Iterator[Check]:
    """Check that every journal of the audit is there and continues what was signed. Only their ends are looked at."""
    done = verify_ends(runtime)
    for finding in done.findings:
        yield Check(
            what, "wrong", finding, "lethe audit verify says all; bring the audit back from its backup"
        )
    said = f"{done.entries:,} entries in {counted(done.logs, 'log')}"
    if done.logs and not done.anchors:
        yield Check(what, "warning", f"{said}; no anchor of it in the warehouse",
                    "a running worker makes one, so does lethe ingest")  # fmt: skip
    elif not done.findings:
        yield Check(what, "ok", said)


_IMPATIENCE: Final = {"timeout": "8s", "connect_timeout": "4s", "max_retries": "0"}

_OF_A_WAREHOUSE: Final = (
    ("keys", _keys),
    ("warehouse", _warehouse),
    ("clock", clock),
    ("ledger", _ledger),
    ("replay", _replay),
    ("integrity log", _integrity_log),
    ("audit entries", _audit_ends),
    ("holds", _holds),
    ("restrictions", _restrictions),
    ("retention", _retention),
)
