"""What every use case is built from: key ring, warehouse, transform, each made when it is first asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from lethe.keys.anchors import Anchors
from lethe.keys.blobs import Blobs
from lethe.keys.files import explained, is_bare
from lethe.keys.kept import KeptNames
from lethe.keys.latest import LatestTime
from lethe.keys.providers.choice import LOCAL, Providers
from lethe.keys.providers.local import LocalProvider
from lethe.keys.ring import KeyRing
from lethe.operations.audit.earlier import EarlierFile
from lethe.operations.audit.log import AuditLog
from lethe.operations.audit.tokens import AuditTokens
from lethe.operations.key_providers import openers
from lethe.operations.settings import Settings
from lethe.operations.telemetry.traces import Traces
from lethe.schemas.errors import ConfigurationError
from lethe.tiers.rights import restrictions
from lethe.tiers.store.objects import Objects, open_objects
from lethe.tiers.warehouse import Warehouse

if TYPE_CHECKING:  # what splits records costs a look-up more to import than all the rest
    from lethe.operations.lines import FileSources
    from lethe.operations.site_files import SiteFile
    from lethe.schemas.site.listed_codes import Codes
    from lethe.streams.transform.decode.registry import Registry
    from lethe.streams.transform.transform import Transform
    from lethe.tiers.maintenance import Kept

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Return the present instant in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Runtime:
    """The parts, each made when first asked for."""

    settings: Settings
    clock: Clock = system_clock
    topics: Callable[[Settings, Collection[str]], Kept] | None = None
    """Asks the broker what it keeps of topic-partitions; a face that can reach one gives it."""
    ends: Callable[[Settings], dict[tuple[str, int], int]] | None = None
    """Asks the broker which offset the next message of each source topic-partition gets; given likewise."""

    def __post_init__(self) -> None:
        """Make the configured formats known; those that come with Lethe need nothing read before they are used."""
        if self.settings.formats_dir is not None:
            from lethe.schemas.declaration import format as formats

            formats.use_directory(self.settings.formats_dir)

    @property
    def is_far(self) -> bool:
        """Whether the warehouse is in an object store, where each request takes its time."""
        return "://" in self.settings.root.removeprefix("file://")

    def has_warehouse(self) -> bool:
        """Tell whether there is a warehouse where the settings say. Makes nothing, no folder either."""
        root = self.settings.root
        if not self.is_far:
            with explained(f"cannot look for a warehouse at {root}"):
                return (Path(root.removeprefix("file://")) / "metadata" / "_delta_log").is_dir()
        return bool(self.objects.list("metadata/_delta_log"))

    @cached_property
    def storage(self) -> dict[str, str]:
        """Object-store options in the clear, for the libraries that need them."""
        return {name: value.get_secret_value() for name, value in self.settings.storage.items()}

    @cached_property
    def objects(self) -> Objects:
        """The objects under the warehouse's root."""
        return open_objects(self.settings.root, self.storage)

    @cached_property
    def ring(self) -> KeyRing:
        """The key ring. The key directory is made only together with a new warehouse."""
        return self.ring_on(self.objects)

    def ring_on(self, blobs: Blobs) -> KeyRing:
        """Return a ring whose wrapped keys are read from `blobs`."""
        carry = partial(restrictions.carry, self.objects)
        latest = LatestTime(self.settings.keys_dir)
        kept = KeptNames(self.settings.keys_dir, "restrictions")
        endings = KeptNames(self.settings.keys_dir, "endings")
        return KeyRing(self.providers, blobs, self.clock, carry, latest, kept, endings)

    @cached_property
    def providers(self) -> Providers:
        """The holders of key-encryption keys, each opened when first used."""
        return Providers(
            self.settings.keys.provider,
            {
                LOCAL: lambda: self.key_directory,
                **openers(self.settings.keys, self.clock, self.settings.keys_group),
            },
            lambda: openers(self.settings.read_again().keys, self.clock, self.settings.keys_group),
            # Whoever holds the keys, what signs and what is kept of them lies in the directory: once there is a key
            # in the warehouse, a directory that is missing is one that is not mounted.
            lambda: self.key_directory,
        )

    @cached_property
    def key_directory(self) -> LocalProvider:
        """The directory `keys_dir`: signing keys lie in it, and key-encryption keys unless others hold them."""
        directory = self.settings.keys_dir
        root = Path(self.objects.root)
        if directory.resolve().is_relative_to(root):
            raise ConfigurationError(
                f"keys_dir {directory} lies inside the warehouse; keep keys and data apart"
            )
        if self.has_key_directory():
            return LocalProvider(directory, group=self.settings.keys_group)
        return LocalProvider.initialise(directory, group=self.settings.keys_group)

    def has_key_directory(self) -> bool:
        """Tell whether there is a key directory. Makes nothing.

        Raises `ConfigurationError` for one that is missing or empty beside a warehouse that has keys: it is a mount
        point without its mount. A key made in there would be another one, and the right directory would be refused for
        ever once it is back.
        """
        directory = self.settings.keys_dir
        empty = directory.is_dir() and is_bare(directory)
        if directory.exists() and not empty:
            return True
        if self.objects.list("_keys"):
            raise ConfigurationError(
                f"keys_dir {directory} is {'empty' if empty else 'missing'}, but the warehouse has keys: mount or "
                "restore it; without it the window cannot be read"
            )
        return False

    @cached_property
    def audit(self) -> AuditLog:
        """The audit log of this installation: at `audit_dir`, or in the key directory, which it belongs to."""
        settings = self.settings
        keys, place = settings.keys_dir, settings.audit_dir
        earlier = None
        if place is None or "://" not in place:
            earlier = EarlierFile(keys.parent / "audit" if place is None else Path(place), keys)
        return AuditLog(
            place or str(keys / "audit"), keys, settings.integrity.log_name, self.storage, earlier,
            lambda: self.key_directory,
        )  # fmt: skip

    @cached_property
    def audit_tokens(self) -> AuditTokens:
        """What names people in the audit."""
        return AuditTokens(self.ring)

    @cached_property
    def traces(self) -> Traces:
        """What measures commit, look-up and sweep for a collector, if there is one."""
        return Traces(self.settings.telemetry.traces_url)

    @property
    def exports(self) -> Path:
        """The folder that exports asked for by message are written into."""
        return self.settings.exports_dir or self.settings.keys_dir.parent / "exports"

    @cached_property
    def warehouse(self) -> Warehouse:
        """The tables, made if they are not there."""
        return self.new_warehouse()

    def new_warehouse(self) -> Warehouse:
        """Open the tables once more, with handles of their own, for another thread."""
        return Warehouse(self.objects, self.storage, self.clock, self.anchors)

    @property
    def certificate_anchors(self) -> Anchors:
        """What is kept with the keys of the deletion certificates that were signed."""
        return Anchors(self.settings.keys_dir, signed_in="certificates.signed")

    @cached_property
    def anchors(self) -> Anchors:
        """What is kept with the keys of what was committed and signed."""
        directory = self.settings.keys_dir

        def first_version() -> int:
            _ = self.key_directory  # refuses one that is missing or lies in the warehouse
            # Where logs were signed before, an earlier release has made commits without this key.
            return self.new_warehouse().metadata.version + 1 if (directory / "log.signing").exists() else 0

        return Anchors(directory, first_version)

    @cached_property
    def listed_codes(self) -> SiteFile[Codes] | None:
        """The codes that the site's file says name nobody; None where there is no such file in the settings."""
        from lethe.operations.site_files import SiteFile, read_codes

        path = self.settings.codes
        return None if path is None else SiteFile(path, read_codes, time.monotonic)

    @cached_property
    def file_sources(self) -> FileSources:
        """Under which source's settings files were taken in."""
        from lethe.operations.lines import FileSources

        return FileSources(self.objects)

    @cached_property
    def registry(self) -> Registry | None:
        """The schema registry, if there is one; `ConfigurationError` where its library is missing."""
        if self.settings.registry_url is None:
            return None
        from lethe.streams.transform.decode.registry import Registry  # an extra that few installations need

        return Registry({"url": self.settings.registry_url})

    @cached_property
    def transform(self) -> Transform:
        """What turns batches into rows."""
        from lethe.operations.lines import Lines, check_charges
        from lethe.operations.site_files import SiteFile, read_residence
        from lethe.streams.transform.split.split import Rules
        from lethe.streams.transform.transform import Transform

        settings = self.settings
        check_charges(settings.lines, settings.sources)
        rules = Rules(
            settings.retention,
            settings.integrity.scope,
            timedelta(seconds=settings.limits.future_seconds),
            Lines(settings.lines, time.monotonic, self.file_sources) if settings.lines else None,
            self.listed_codes,
            None
            if settings.residence is None
            else SiteFile(settings.residence, read_residence, time.monotonic),
        )
        return Transform(self.ring, rules, settings.limits.record_bytes, self.clock, self.registry)
