"""Gaps that somebody accepted, kept until there is a record to note them with: a topic made anew may be empty for days.

_gaps/HASH.json     the identity of the topic (cluster and topic id), the stream it goes on as, and what was lost
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Final

from lethe.tiers.store.objects import Objects

_FOLDER: Final = "_gaps"


@dataclass(frozen=True, slots=True)
class AcceptedGap:
    """What was agreed to of one incarnation of a topic."""

    identity: str
    stream: str
    gap: str


def note_gaps(objects: Objects, gaps: Mapping[str, AcceptedGap]) -> None:
    """Keep what was accepted, durably, by identity; what is kept already stays as it is."""
    for identity, gap in gaps.items():
        name = sha256(identity.encode()).hexdigest()[:32]
        objects.create(f"{_FOLDER}/{name}.json", json.dumps({"version": 1, **asdict(gap)}).encode())


def noted_gaps(objects: Objects) -> dict[str, AcceptedGap]:
    """Return what was accepted so far, by the identity of the topic."""
    found = {}
    for path in objects.list(_FOLDER):
        if (data := objects.get(path)) is not None:
            content = json.loads(data)
            gap = AcceptedGap(content["identity"], content["stream"], content["gap"])
            found[gap.identity] = gap
    return found
