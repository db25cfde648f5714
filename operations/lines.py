"""What the site says of its lines, by stream: read at the start, and the own numbers again when they change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from lethe.operations.sections.lines import LineSettings
from lethe.operations.site_files import SiteFile, read_own_numbers
from lethe.schemas.errors import ConfigurationError, InputError
from lethe.schemas.line import ANY_LINE, Line
from lethe.tiers.store.objects import Objects

FILE: Final = "file-"
"""With which the stream of a file begins."""
NO_SOURCE: Final = "none"
_FILES: Final = "_ingest/sources"


def check_charges(settings: Mapping[str, LineSettings], sources: Mapping[str, str]) -> None:
    """Check that charges can be worked out as sources say; raises `ConfigurationError` naming source and format."""
    from lethe.schemas.declaration import format as formats  # a look-up reads no declaration

    for name, one in settings.items():
        if one.charge_basis is None or name not in sources:
            continue
        for fmt in formats.formats_of(formats.get(sources[name])).values():
            try:
                if fmt.priced:
                    fmt.check_charge(one.charge_basis)
            except ValueError as error:
                raise ConfigurationError(f"lines.{name}: {fmt.name} has no such charge: {error}") from None


class FileSources:
    """Under which source's settings files were taken in, by the name of their stream: noted before their first record.

    A record of a file that is replayed years later is read as it was.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._known: dict[str, str | None] = {}

    def __call__(self, stream: str) -> str | None:
        """Return the source of a file's stream; None where it was taken in under no source's settings."""
        if stream not in self._known:
            body = self._objects.get(f"{_FILES}/{stream}")
            self._known[stream] = None if body is None else body.decode()
        return self._known[stream]

    def note(self, stream: str, source: str) -> None:
        """Note the source of a file's stream; raises `InputError` where another one is noted."""
        if not self._objects.create(f"{_FILES}/{stream}", source.encode()):
            self._known.pop(stream, None)
            if (there := self(stream)) != source:
                raise InputError(
                    f"taking this file in was begun under the settings of {there}: go on with --source {there}, or "
                    "take it out again first (lethe ingest undo)"
                )
        self._known[stream] = source


def source_for(
    settings: Mapping[str, LineSettings], sources: Mapping[str, str], format_name: str, named: str | None
) -> str | None:
    """Say under which source's settings a file of a format is read: the one that is named, else the only one there is.

    `none` names none. Raises `InputError` for a name that is no source's, and where several could be meant.
    """
    if named == NO_SOURCE:
        return None
    known = sorted({*settings, *sources})
    if named is not None:
        if named not in known:
            raise InputError(
                f"--source: no such source in the settings; there is {', '.join(known) or 'none'}"
            )
        return named
    mine = sorted(name for name, fmt in sources.items() if fmt == format_name)
    if len(mine) > 1 and any(name in settings for name in mine):
        raise InputError(
            f"several sources have the format {format_name}, with settings of their own: say whose hold with --source "
            f"({', '.join(mine)}, or {NO_SOURCE})"
        )
    return mine[0] if len(mine) == 1 else None


class Lines:
    """The lines of all streams. Called with a stream's name; safe in several threads.

    A file of own numbers that cannot be read at the start is an error, `ConfigurationError`; later it leaves what was
    read before.
    """

    def __init__(
        self,
        settings: Mapping[str, LineSettings],
        clock: Callable[[], float],
        source_of_file: Callable[[str], str | None] = lambda _stream: None,
    ) -> None:
        """Read what is set. `source_of_file`: under which source's settings the stream of a file is taken in."""
        self._source_of_file = source_of_file
        self._own = {
            name: SiteFile(one.own_numbers, read_own_numbers, clock)
            for name, one in settings.items()
            if one.own_numbers is not None
        }
        self._known = {
            name: Line(one.country, one.dial_prefixes, None, one.charge_basis, one.zone, one.currency)
            for name, one in settings.items()
        }

    def __call__(self, stream: str) -> Line:
        """Return the line of a stream, whose topic may have been created again (`~2`)."""
        name = (self._source_of_file(stream) or "") if stream.startswith(FILE) else stream.partition("~")[0]
        line = self._known.get(name, ANY_LINE)
        if name in self._own and (own := self._own[name]()) is not line.own:
            line = self._known[name] = replace(line, own=own)
        return line
