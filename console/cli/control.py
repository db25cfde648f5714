"""What a worker does besides records: it answers requests from the control topic, and its leader sweeps."""

from __future__ import annotations

from typing import Any

from lethe.console.cli.rights import write_export
from lethe.console.cli.shell import Shell
from lethe.console.cli.window import audit_log
from lethe.streams.worker.control_topic import Desk, attach, make_topics
from lethe.streams.worker.metrics import Metrics


def desk(here: Shell) -> Desk:
    """Who answers requests, with the audit log of this installation and its folder for exports."""
    log, runtime = audit_log(here), here.runtime
    return Desk(
        runtime,
        lambda entry: log.append(dict(entry), runtime.clock()),
        log.entries,
        here.settings.keys_dir.parent / "exports",
        write_export,
    )


def attach_control(here: Shell, app: Any, metrics: Metrics) -> None:
    """Make the control topics if they are not there, and give a worker's application its agents and timers."""
    make_topics(here.runtime)
    attach(app, here.runtime, metrics, desk(here))
