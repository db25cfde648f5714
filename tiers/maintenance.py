"""What maintenance of the warehouse works with: tables, keys, holds, the registrar of certificates and the clock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from lethe.keys.ring import KeyRing
from lethe.tiers.certificates.certificates import Registrar
from lethe.tiers.holds.definition import Hold
from lethe.tiers.holds.holds import Holds
from lethe.tiers.warehouse import Warehouse

Kept = Mapping[str, Mapping[str, int | None]]
"""What a broker keeps of topic-partitions: `earliest_offset` and `retention_ms` of each that it told of."""


@dataclass(frozen=True)
class MaintenanceContext:
    """What whatever deletes is given. What only reads is given what it reads, not this."""

    warehouse: Warehouse
    ring: KeyRing
    registrar: Registrar
    clock: Callable[[], datetime]
    forced: bool = False
    on_step: Callable[[str], None] = field(default=lambda _: None)
    on_records: Callable[[int], None] = field(default=lambda _: None)  # how many have been looked through

    on_release: Callable[[Hold], None] = field(
        default=lambda _: None
    )  # before a hold that has ended is released

    ask_topics: Callable[[Collection[str]], Kept] = field(default=lambda _: {})

    @cached_property
    def sources(self) -> tuple[list[str], Kept]:
        """Say where records came from, as `stream/partition`, and what the broker keeps of it, asked once."""
        known = self.warehouse.topic_partitions()
        return known, self.ask_topics(known)

    @property
    def holds(self) -> Holds:
        """Ask for the holds: the one place that is asked before anything is deleted."""
        return Holds(self.warehouse.objects, self.ring)
