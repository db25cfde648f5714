"""What the site says of its lines, by stream: read at the start, and the own numbers again when they change."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.charge import ChargeBasis
from lethe.schemas.declaration.fields import is_zone
from lethe.schemas.declaration.vocabulary import CURRENCIES
from lethe.schemas.errors import ConfigurationError
from lethe.schemas.line import ANY_LINE, Line, OwnNumbers, parse_own_numbers

_log = logging.getLogger(__name__)
_LOOK_EVERY: Final = 5.0  # seconds
_MOST_BYTES: Final = 256 * 1024 * 1024


class LineSettings(BaseModel):
    """What is set for one source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    country: str | None = Field(
        None, pattern=r"^[A-Z]{2}$", description="ISO 3166 alpha-2: under which national numbers are read"
    )
    dial_prefixes: tuple[str, ...] = Field(
        (), max_length=50, description="dialled before a number, no part of it"
    )
    own_numbers: Path | None = Field(None, description="file of the site's own numbers and ranges")
    charge_basis: ChargeBasis | None = Field(
        None, description="what a price is the price of, where your contract says other than the declaration"
    )
    zone: str | None = Field(
        None,
        max_length=64,
        description="IANA name of the clock's time zone, for times that say none themselves",
    )
    currency: str | None = Field(None, description="ISO 4217: of prices that name no currency")

    @field_validator("zone")
    @classmethod
    def _zone(cls, zone: str | None) -> str | None:
        if zone is not None and not is_zone(zone):
            raise ValueError("the IANA name of a time zone, such as Asia/Karachi")
        return zone

    @field_validator("currency")
    @classmethod
    def _known(cls, currency: str | None) -> str | None:
        if currency is not None and currency not in CURRENCIES:
            raise ValueError("an ISO 4217 code in use, such as PKR")
        return currency


def read_own_numbers(path: Path) -> OwnNumbers:
    """Read a file of own numbers; raises `ConfigurationError` naming the file, the line and what is wrong there."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigurationError(f"own_numbers {path}: larger than 256 MB; write ranges as first-last")
        return parse_own_numbers(path.read_bytes().decode("utf-8"), f"own_numbers {path}")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"own_numbers {path}: {type(error).__name__}; check that it is there, readable and UTF-8"
        ) from None


def check_charges(settings: Mapping[str, LineSettings], sources: Mapping[str, str]) -> None:
    """Check that charges can be worked out as sources say; raises `ConfigurationError` naming source and format."""
    for name, one in settings.items():
        if one.charge_basis is None or name not in sources:
            continue
        for fmt in formats.formats_of(formats.get(sources[name])).values():
            try:
                if fmt.priced:
                    fmt.check_charge(one.charge_basis)
            except ValueError as error:
                raise ConfigurationError(f"lines.{name}: {fmt.name} has no such charge: {error}") from None


@dataclass(slots=True)
class Lines:
    """The lines of all streams. Called with a stream's name; safe in several threads.

    A file that cannot be read at the start is an error. One that cannot be read later is told to the log, and what was
    read before stays: persons must not become businesses, nor the other way round, because a copy was half done.
    """

    settings: Mapping[str, LineSettings]
    clock: Callable[[], float] = field(repr=False)  # seconds, never backwards
    _known: dict[str, Line] = field(default_factory=dict, repr=False)
    _seen: dict[str, tuple[int, int, int]] = field(default_factory=dict, repr=False)
    _looked: float = 0.0

    def __post_init__(self) -> None:
        """Read every file; raises `ConfigurationError` for the first one that is wrong."""
        for name, one in self.settings.items():
            own = None
            if one.own_numbers is not None:
                self._seen[name] = _mark(one.own_numbers)
                own = read_own_numbers(one.own_numbers)
            self._known[name] = Line(
                one.country, one.dial_prefixes, own, one.charge_basis, one.zone, one.currency
            )
        self._looked = self.clock()

    def __call__(self, stream: str) -> Line:
        """Return the line of a stream, whose topic may have been created again (`~2`)."""
        if self.clock() - self._looked >= _LOOK_EVERY:
            self._looked = self.clock()
            self._look()
        return self._known.get(stream.partition("~")[0], ANY_LINE)

    def _look(self) -> None:
        for name, one in self.settings.items():
            if one.own_numbers is None:
                continue
            try:
                mark = _mark(one.own_numbers)
                if mark == self._seen[name]:
                    continue
                self._seen[name] = mark  # told once, however it ends
                own = read_own_numbers(one.own_numbers)
            except ConfigurationError as error:
                _log.error("%s; the numbers read before stay in force", error)
                continue
            self._known[name] = Line(
                one.country, one.dial_prefixes, own, one.charge_basis, one.zone, one.currency
            )
            _log.info("own_numbers of %s: read again, %s stretches", name, own.count)


def _mark(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigurationError(
            f"own_numbers {path}: {error.strerror}; put it back or mend the setting"
        ) from None
    return found.st_ino, found.st_size, found.st_mtime_ns
