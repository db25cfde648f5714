"""Format declarations: which field of an inbound record is what, and where each part goes.

A format is a TOML file (see `docs/formats.md`). What it does not declare never reaches the archive.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from schemas.arrow import METADATA
from schemas.errors import ConfigurationError
from schemas.vocabulary import (
    CHANNELS,
    CODE_PATTERNS,
    CURRENCIES,
    DIRECTIONS,
    KINDS,
    PRICE_UNITS,
    STATUS_GROUPS,
)

FieldPath = Annotated[str, StringConstraints(pattern=r"^[^\s.\[\]]+(\[\])?(\.[^\s.\[\]]+)*$", max_length=200)]
TimeFormat = Literal["iso", "rfc2822", "epoch_s", "epoch_ms", "epoch_us", "yymmddhhmm"]
ArchiveType = Literal["timestamp", "integer", "decimal", "duration", "boolean", "enum", "code", "mccmnc"]

_BY_TYPE: dict[str, frozenset[str]] = {
    "timestamp": frozenset({"event_time", "done_time"}),
    "integer": frozenset({"parts"}),
    "decimal": frozenset({"price"}),
    "duration": frozenset({"duration_ms"}),
    "boolean": frozenset({"permanent_error"}),
    "enum": frozenset({"channel", "direction", "status_group", "currency", "price_unit"}),
    "code": frozenset(
        {"account", "application", "sender", "recipient", "mcc", "mnc", "network", "route", "status", "error"}
    ),
    "mccmnc": frozenset({"mcc"}),
}
ENUM_VALUES: dict[str, frozenset[str]] = {
    "channel": CHANNELS,
    "direction": DIRECTIONS,
    "status_group": STATUS_GROUPS,
    "currency": CURRENCIES,
    "price_unit": PRICE_UNITS,
}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Condition(_Model):
    """Holds when the text of another field is (or is not) one of the given values, or matches a pattern."""

    field: FieldPath
    is_: tuple[str, ...] | None = Field(None, alias="is")
    is_not: tuple[str, ...] | None = None
    matches: str | None = None

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        if sum(test is not None for test in (self.is_, self.is_not, self.matches)) != 1:
            raise ValueError("a condition has exactly one of `is`, `is_not`, `matches`")
        if self.matches is not None:
            re.compile(self.matches)
        return self


class FieldSpec(_Model):
    """One declared field of a record."""

    path: FieldPath
    class_: Literal["subject", "window", "archive", "content"] = Field(alias="class")
    required: bool = False

    # subject
    role: str | None = Field(None, pattern=r"^[a-z_]{2,24}$")
    end_user: Literal["always", "never"] | Condition | None = None
    kind: str = "auto"
    business: Literal["sender", "recipient", "withheld"] | None = None  # archive column when not an end user

    # window
    message_id: bool = False

    # archive
    column: str | None = None
    type: ArchiveType | None = None
    format: TimeFormat = "iso"
    pattern: str | None = None  # name of a pattern in schemas.vocabulary.CODE_PATTERNS
    values: dict[str, str] | None = None  # enum: the record's word -> our word
    scale: str = "1"  # decimal: factor to whole currency units, "0.01" for cents; duration: factor to seconds
    unit: str | None = None  # decimal: price_unit that goes with this field

    @model_validator(mode="after")
    def _complete(self) -> Self:
        check = {"subject": self._subject, "archive": self._archive}.get(self.class_)
        if check:
            check()
        if "[]" in self.path and self.class_ in ("archive",):
            raise ValueError("a list cannot fill a column of the archive")
        return self

    def _subject(self) -> None:
        if self.role is None or self.end_user is None:
            raise ValueError("a subject has a `role` and says in `end_user` whether it is an end user")
        if self.kind != "auto" and self.kind not in KINDS:
            raise ValueError(f"kind is `auto` or one of {', '.join(sorted(KINDS))}")
        if self.end_user != "always" and self.business is None:
            raise ValueError("a subject that may be a business says in `business` which column it goes to")

    def _archive(self) -> None:
        if self.type is None or self.column is None:
            raise ValueError("an archive field has a `type` and a `column`")
        if self.column not in _BY_TYPE[self.type]:
            raise ValueError(f"type {self.type} fills {', '.join(sorted(_BY_TYPE[self.type]))}")
        if self.type == "enum":
            outside = set((self.values or {}).values()) - ENUM_VALUES[self.column]
            if outside:
                raise ValueError(f"{self.column} has no value {', '.join(sorted(outside))}")
        if self.type == "code" and self.pattern not in CODE_PATTERNS:
            raise ValueError(f"a code has a `pattern`: one of {', '.join(sorted(CODE_PATTERNS))}")


class Format(_Model):
    """A declared inbound format."""

    name: str = Field(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")
    version: int = Field(ge=1)
    title: str
    encoding: Literal["json", "csv"] = "json"
    columns: tuple[str, ...] = ()  # csv: the names of the columns, in order
    envelope: str | None = None  # the key of a list of records in one message
    channel: str | None = None
    direction: str | None = None
    price_unit: str | None = None
    status_group: str | None = None  # for records that exist only once something has happened, such as an inbound message
    fields: tuple[FieldSpec, ...] = Field(alias="field", min_length=1, max_length=500)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        paths = [f.path for f in self.fields]
        if len(set(paths)) != len(paths):
            raise ValueError("a field is declared twice")
        filled = {f.column for f in self.archive} | {n for n in ENUM_VALUES if getattr(self, n, None)}
        for column in ("event_time", "channel", "direction"):
            if column not in filled:
                raise ValueError(f"nothing fills {column}")
        for name in ("channel", "direction", "price_unit", "status_group"):
            value = getattr(self, name)
            if value is not None and value not in ENUM_VALUES[name]:
                raise ValueError(f"{name} has no value {value}")
        times = [f for f in self.archive if f.column == "event_time"]
        if len(times) == 1 and not times[0].required:
            raise ValueError("the field of event_time is required")
        if sum(f.message_id for f in self.fields) > 1:
            raise ValueError("at most one field is the message id")
        if (self.encoding == "csv") != bool(self.columns):
            raise ValueError("csv, and only csv, names its `columns`")
        return self

    def of_class(self, name: str) -> tuple[FieldSpec, ...]:
        """The fields of one class, as declared."""
        return tuple(f for f in self.fields if f.class_ == name)

    @property
    def subjects(self) -> tuple[FieldSpec, ...]:
        """Fields that hold the address of a party."""
        return self.of_class("subject")

    @property
    def archive(self) -> tuple[FieldSpec, ...]:
        """Fields that fill a column of the archive."""
        return self.of_class("archive")

    @property
    def content(self) -> tuple[FieldSpec, ...]:
        """Fields that are dropped."""
        return self.of_class("content")

    @property
    def message_id(self) -> FieldSpec | None:
        """The field that names the message, if there is one."""
        return next((f for f in self.fields if f.message_id), None)


def parse(text: str, origin: str) -> Format:
    """Read a declaration; raises `ConfigurationError` naming `origin`, the field and what is wrong."""
    try:
        return Format.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{origin}: not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "format"
        raise ConfigurationError(f"{origin}: {where}: {first['msg']}") from None


@cache
def builtin() -> dict[str, Format]:
    """The formats that come with Lethe, by name."""
    return {f.name: f for f in _read_builtin()}


def _read_builtin() -> Iterator[Format]:
    folder = resources.files("schemas") / "formats"
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if file.name.endswith(".toml"):
            yield parse(file.read_text("utf-8"), file.name)


def get(name: str) -> Format:
    """A built-in format by name; raises `ConfigurationError` listing what there is."""
    try:
        return builtin()[name]
    except KeyError:
        known = ", ".join(builtin())
        raise ConfigurationError(f"no format {name[:80]!r}; known formats: {known}") from None


assert set().union(*_BY_TYPE.values()) <= set(METADATA.names)  # noqa: S101  (a slip here would lose a column)
