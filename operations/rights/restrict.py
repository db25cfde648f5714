"""Restrict a person's records: look-ups, evidence and reveals do not show them unless a reason of law is given."""

from __future__ import annotations

from dataclasses import dataclass

from lethe.operations.asker import Asker, record
from lethe.operations.runtime import Runtime
from lethe.operations.window.identify import identify
from lethe.tiers.rights import restrictions


@dataclass(frozen=True, slots=True)
class Restriction:
    """What came of it; `changed` is False where the records were in that state already."""

    state: str
    changed: bool


def restrict(runtime: Runtime, asker: Asker, text: str) -> Restriction:
    """Keep the records of whom a text names from being shown, those to come too."""
    subjects = identify(text, runtime.settings.line_countries).subjects
    record(runtime, asker, "restrict", about=subjects)
    policy = runtime.settings.retention
    changed = restrictions.place(runtime.objects, runtime.ring, policy, subjects, runtime.clock())
    return Restriction("restricted" if changed else "restricted already", changed)


def lift(runtime: Runtime, asker: Asker, text: str) -> Restriction:
    """Show the records of whom a text names again."""
    subjects = identify(text, runtime.settings.line_countries).subjects
    record(runtime, asker, "restrict.lift", about=subjects)
    changed = restrictions.lift(runtime.objects, runtime.ring, subjects)
    return Restriction("lifted" if changed else "there was no restriction", changed)
