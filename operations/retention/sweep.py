"""The sweep as a process runs it: from the settings, with the signer's keys."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Final

from lethe.operations import adjustments, codes
from lethe.operations.asker import Asker, record
from lethe.operations.compact import compact_for
from lethe.operations.proof.signer import signer_of
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import LetheError
from lethe.schemas.words import counted
from lethe.tiers.certificates.certificates import Registrar
from lethe.tiers.maintenance import Kept, MaintenanceContext
from lethe.tiers.retention.expiry import Outcome, due_months
from lethe.tiers.retention.loss import of_key
from lethe.tiers.retention.sweep import sweep

log = logging.getLogger("lethe.sweep")

_SWEEP: Final = Asker("the sweep")
_MERGING: Final = 1_200.0
"""Seconds after which a sweep begins no more merges: the next one, an hour later, goes on."""


def registrar(runtime: Runtime) -> Registrar:
    """Say who signs the deletion certificates. The key directory is looked at first: a missing one is an error."""
    return Registrar(runtime.objects, signer_of(runtime), runtime.certificate_anchors)


def maintenance_context(
    runtime: Runtime,
    forced: bool = False,
    on_step: Callable[[str], None] = lambda _: None,
    on_records: Callable[[int], None] = lambda _: None,
) -> MaintenanceContext:
    """Say what forgetting works with. A warehouse of its own: the sweep may run in another thread than the commits."""
    warehouse = runtime.new_warehouse()
    return MaintenanceContext(
        warehouse, runtime.ring, registrar(runtime), runtime.clock, forced, on_step, on_records,
        lambda hold: record(
            runtime, _SWEEP, "hold.release", hold=hold.id, reference=hold.reference, why="its end came"
        ),
        partial(_ask_topics, runtime),
    )  # fmt: skip


def _ask_topics(runtime: Runtime, places: Collection[str]) -> Kept:
    """Ask the broker what it keeps, if there is one to ask and it answers: a certificate does not wait for one."""
    if runtime.topics is None or not runtime.settings.sources:
        return {}
    try:
        return runtime.topics(runtime.settings, places)
    except LetheError as error:
        log.warning("the broker could not be asked how long it keeps the source topics: %s", error)
        return {}


def run_sweep(runtime: Runtime) -> list[Outcome] | None:
    """Sweep as the leader, then merge files that are due.

    None if something kept it from forgetting: that is logged, the worker goes on.
    """
    with runtime.traces.span("lethe.sweep") as span:
        outcomes = _run_sweep(runtime)
        span.count(
            kept_from_forgetting=outcomes is None,
            due=len(outcomes or ()),
            forgotten=sum(o.state == "forgotten" for o in outcomes or ()),
        )
    return outcomes


def _try_lost_keys(runtime: Runtime) -> None:
    """Open the keys that somebody says are lost: whoever can withdraws what was said, before they are given up."""
    for key_id in runtime.ring.losses.said():
        with suppress(LetheError, ValueError):
            if (month := of_key(key_id)) is not None:
                runtime.ring.probe(month.month, month.window_months)


def _run_sweep(runtime: Runtime) -> list[Outcome] | None:
    try:
        _try_lost_keys(runtime)
        maintenance = maintenance_context(runtime)
        # Before anything is forgotten: reports of one communication are told by tokens, which end with their month.
        ending = {
            due.month for due in due_months(maintenance.warehouse, maintenance.ring, maintenance.clock())
        }
        adjustments.run_due(runtime, ending)
        codes.sweep_due(runtime)
        outcomes = sweep(maintenance, runtime.settings.retention)
    except LetheError as error:
        log.error("sweep: %s", error)
        return None
    for outcome in outcomes:
        if outcome.state == "differs":
            found = "none that can be counted" if outcome.rows < 0 else f"{outcome.rows}"
            log.error(
                "%s: it covered %s, there are %s; lethe doctor",
                outcome.what,
                counted(outcome.said, "record"),
                found,
            )
            continue
        log.info(
            "%s: %s; files: %d, rows: %d, records held: %d", outcome.what, outcome.state, outcome.files,
            outcome.rows, outcome.held,
        )  # fmt: skip
    try:
        merges = compact_for(runtime, _MERGING)
    except LetheError as error:  # what was forgotten is forgotten; small files only make look-ups slow
        log.error("compaction: %s", error)
    else:
        log.info("%s of files merged", counted(len(merges), "group"))
    return outcomes
