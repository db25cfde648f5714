"""One declared field of a record: its class, where it goes, and on what that depends."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from lethe.schemas.declaration.vocabulary import (
    CHANNELS,
    CODE_MAX_LENGTH,
    CODE_PATTERNS,
    CURRENCIES,
    DIRECTIONS,
    KINDS,
    PRICE_UNITS,
    STATUS_GROUPS,
    is_zone,
)

STEP: Final = r"[^\s.\[\]]+(\[0?\])?"  # a member; of one that is a list every element, or the first


def _no_pattern(path: str) -> str:
    if path == "*" or (path.startswith("^") and path.endswith("$")):
        raise ValueError("a path of `*`, or one from `^` to `$`, would be read as a pattern of names")
    return path


FieldPath = Annotated[
    str,
    StringConstraints(pattern=rf"^{STEP}(\.{STEP})*$", max_length=200),
    AfterValidator(_no_pattern),
]
RoleName = Annotated[str, StringConstraints(pattern=r"^[a-z_]{2,24}$")]
TimeFormat = Literal[
    "iso", "rfc2822", "epoch_s", "epoch_ms", "epoch_us", "epoch_ns", "iso_or_epoch_s", "yymmddhhmm",
    "yyyymmddhhmmss", "dmy", "mdy", "syslog",
]  # fmt: skip

ArchiveType = Literal[
    "timestamp", "integer", "decimal", "duration", "boolean", "enum", "code", "mccmnc", "path"
]

BY_TYPE: Final[dict[str, frozenset[str]]] = {
    "timestamp": frozenset({"event_time", "done_time"}),
    "integer": frozenset({"parts"}),
    "decimal": frozenset({"price", "charge"}),
    "duration": frozenset({"duration_ms", "charged_duration_ms"}),
    "boolean": frozenset({"permanent_error"}),
    "enum": frozenset({"channel", "direction", "status_group", "currency", "price_unit"}),
    "code": frozenset(
        {"account", "application", "sender", "recipient", "mcc", "mnc", "network", "route", "status", "error"}
    ),
    "mccmnc": frozenset({"mcc"}),
}
USAGE_BY_TYPE: Final[dict[str, frozenset[str]]] = {
    "timestamp": frozenset({"event_time"}),
    "code": frozenset({"action", "method", "status"}),
    "path": frozenset({"path"}),
}
"""Columns of usage data. They are in the window, sealed; nothing of them is free text all the same."""
ENUM_VALUES: Final[dict[str, frozenset[str]]] = {
    "channel": CHANNELS,
    "direction": DIRECTIONS,
    "status_group": STATUS_GROUPS,
    "currency": CURRENCIES,
    "price_unit": PRICE_UNITS,
}
_SCALE: Final = re.compile(r"-?[0-9]{1,6}(\.[0-9]{1,9})?")


class Declared(BaseModel):
    """What every part of a declaration has in common: nothing unknown in it, nothing changes it."""

    # Built when the first declaration is read: most commands read none.
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, defer_build=True)


class Condition(Declared):
    """Holds when the text of a field is (or is not) one of some words, or matches a pattern; or any or all of several.

    Words are compared without regard to case and surrounding space. `matches` is a regular expression in the syntax
    common to Python and Rust; it finds its match anywhere unless it is anchored. Of a field that is empty neither
    can be said. `present`: whether the field holds anything but space.
    """

    field: FieldPath | None = None
    is_: tuple[str, ...] | None = Field(None, alias="is")
    is_not: tuple[str, ...] | None = None
    matches: str | None = Field(None, max_length=500)
    present: bool | None = None
    any: tuple[Condition, ...] | None = Field(None, min_length=1, max_length=20)
    all: tuple[Condition, ...] | None = Field(None, min_length=1, max_length=20)

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        tests = (self.is_, self.is_not, self.matches, self.present)
        if sum(test is not None for test in (*tests, self.any, self.all)) != 1:
            raise ValueError(
                "a condition has exactly one of `is`, `is_not`, `matches`, `present`, `any`, `all`"
            )
        if (self.field is None) != (self.any is not None or self.all is not None):
            raise ValueError(
                "a condition on a field names it in `field`; `any` and `all` hold conditions instead"
            )
        if self.matches is not None:
            try:
                re.compile(self.matches)
            except re.error:
                raise ValueError("`matches` is no regular expression") from None
            import polars as pl  # here: a look-up reads no declaration and starts without it

            try:  # as it will be used: without looking around or referring back, in time linear in the text
                pl.Series([""]).str.contains(self.matches)
            except pl.exceptions.PolarsError:
                raise ValueError("`matches` may not look around or refer back") from None
        return self

    def fields(self) -> frozenset[str]:
        """Return the paths the condition looks at."""
        below = [c.fields() for c in (*(self.any or ()), *(self.all or ()))]
        return frozenset({self.field} if self.field else ()).union(*below)


class Rule(Declared):
    """A word for a column, wherever a condition holds. Rules come before fields; the first that holds wins."""

    column: Literal["channel", "direction", "status_group", "currency", "price_unit"]
    value: str
    when: Condition

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.value not in ENUM_VALUES[self.column]:
            raise ValueError(f"{self.column} has no value {self.value}")
        return self


class Swap(Declared):
    """Two roles that change places where a condition holds: a field declared in one of them has the other there."""

    roles: tuple[RoleName, RoleName]
    when: Condition

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.roles[0] == self.roles[1]:
            raise ValueError("two different `roles` change places")
        return self


class FieldSpec(Declared):
    """One declared field of a record."""

    path: FieldPath
    class_: Literal["subject", "window", "archive", "usage", "content"] = Field(alias="class")
    required: bool = False

    # subject
    role: RoleName | None = None
    end_user: Literal["always", "never", "unless_own"] | Condition | None = None
    kind: str = "auto"
    business: Literal["sender", "recipient", "withheld"] | None = None  # archive column when not an end user
    longest: int = Field(11, ge=1, le=CODE_MAX_LENGTH)  # characters of an alphanumeric business address

    digits: Literal["international", "dialled"] = "international"  # what bare digits are
    domain: FieldPath | None = None  # the field with the host of a user: both together are one address
    instead_of: FieldPath | None = (
        None  # looked at only where that field (and what stands in for it) is empty
    )
    nobody: tuple[Annotated[str, StringConstraints(min_length=1, max_length=64)], ...] = Field(
        (), max_length=100
    )
    byte_order: Literal["big", "little"] = "big"  # of an IP address written as one whole number

    # window
    message_id: bool = False

    # archive and usage
    column: str | None = None
    type: ArchiveType | None = None
    format: TimeFormat = "iso"
    zone: str | None = Field(None, max_length=64)  # IANA name: of times that say none themselves
    pattern: str | None = None  # name of a pattern in lethe.schemas.declaration.vocabulary.CODE_PATTERNS
    values: dict[str, str] | None = (
        None  # the record's word -> ours; "4*" is a beginning, "*" everything else
    )
    keep: Literal["status", "error", "application"] | None = (
        None  # enum: where the vendor's own word goes as well
    )
    scale: str = "1"  # decimal: factor to whole currency units, "0.01" for cents; duration: factor to seconds
    decimal_mark: Literal[".", ","] | None = None  # decimal: written as people do: `1.234,50 €`, `USD 0.05`
    unit: str | None = None  # decimal: price_unit that goes with this field
    words: tuple[str, ...] = Field((), max_length=500)  # path: what else may stand in a template of it

    @model_validator(mode="after")
    def _complete(self) -> Self:
        foreign = [name for name in self.model_fields_set - _COMMON if name not in _OF_CLASS[self.class_]]
        if foreign:
            raise ValueError(f"a field of class {self.class_} has no `{sorted(foreign)[0]}`")
        check = {"subject": self._subject, "archive": self._archive, "usage": self._usage}.get(self.class_)
        if check:
            check()
        if "[]" in self.path and self.class_ in ("archive", "usage"):
            raise ValueError("a list cannot fill a column; its first element, `[0]`, can")
        return self

    def _subject(self) -> None:
        if self.role is None or self.end_user is None:
            raise ValueError("a subject has a `role` and says in `end_user` whether it is an end user")
        if self.kind != "auto" and self.kind not in KINDS:
            raise ValueError(f"kind is `auto` or one of {', '.join(sorted(KINDS))}")
        if self.end_user != "always" and self.business is None:
            raise ValueError("a subject that may be a business says in `business` which column it goes to")
        if "[]" in self.path and self.end_user != "always" and not isinstance(self.end_user, Condition):
            raise ValueError(
                'whoever is in a list is an end user, end_user = "always", or a condition says so'
            )
        if "[]" in self.path and (self.domain or self.instead_of or self.nobody):
            raise ValueError("an address in a list has neither `domain` nor `instead_of` nor `nobody`")
        if self.instead_of and "[" in self.path and self.nobody:
            raise ValueError("words for `nobody` stand in a field of their own, not inside of another one")

    def _usage(self) -> None:
        self._typed(USAGE_BY_TYPE)
        if self.zone is not None:
            self._zone()
        if self.type == "code":
            self._code()

    def _typed(self, by_type: dict[str, frozenset[str]]) -> None:
        if self.type is None or self.column is None:
            raise ValueError(f"a field of class {self.class_} has a `type` and a `column`")
        if self.type not in by_type:
            raise ValueError(f"a field of class {self.class_} has a type of {', '.join(sorted(by_type))}")
        if self.column not in by_type[self.type]:
            raise ValueError(f"type {self.type} fills {', '.join(sorted(by_type[self.type]))}")

    def _archive(self) -> None:
        self._typed(BY_TYPE)
        assert self.column is not None  # noqa: S101  (for the type checker)
        if not _SCALE.fullmatch(self.scale) or float(self.scale) == 0:
            raise ValueError('`scale` is a decimal number such as "0.01"')
        if self.zone is not None:
            self._zone()
        if self.decimal_mark is not None and self.type != "decimal":
            raise ValueError("only a decimal has a `decimal_mark`")
        if self.unit is not None and self.unit not in PRICE_UNITS:
            raise ValueError(f"`unit` is one of {', '.join(sorted(PRICE_UNITS))}")
        if self.type == "enum":
            outside = set((self.values or {}).values()) - ENUM_VALUES[self.column]
            if outside:
                raise ValueError(f"{self.column} has no value {', '.join(sorted(outside))}")
        elif self.keep is not None:
            raise ValueError("only an enumeration keeps the vendor's own word in `keep`")
        if self.keep is not None:
            _check_words(self.values or {})
        if self.type == "code":
            self._code()

    def _zone(self) -> None:
        if self.type != "timestamp":
            raise ValueError("only a timestamp has a `zone`")
        if not is_zone(self.zone or ""):
            raise ValueError("`zone` is the IANA name of a time zone, such as Asia/Karachi")

    def _code(self) -> None:
        if (self.pattern is None) == (self.values is None):
            raise ValueError("a code has either a `pattern` or its `values`")
        if self.pattern is not None and self.pattern not in CODE_PATTERNS:
            raise ValueError(f"a code has a `pattern`: one of {', '.join(sorted(CODE_PATTERNS))}")
        if self.values is not None:
            _check_words(self.values)
            if any("*" in w for w in self.values):
                raise ValueError("the `values` of a code are whole words")


def _check_words(values: dict[str, str]) -> None:
    if any(
        len(w) > CODE_MAX_LENGTH or sum(c.isdigit() for c in w) > _WORD_DIGITS
        for pair in values.items()
        for w in pair
    ):
        raise ValueError("words that are kept are short and have at most four digits")


_WORD_DIGITS: Final = 4
_COMMON: Final = frozenset({"path", "class_", "required"})
_OF_CLASS: Final[dict[str, frozenset[str]]] = {
    "subject": frozenset(
        {
            "role",
            "end_user",
            "kind",
            "business",
            "longest",
            "digits",
            "domain",
            "instead_of",
            "nobody",
            "byte_order",
        }
    ),
    "window": frozenset({"message_id"}),
    "archive": frozenset(
        {"column", "type", "format", "zone", "pattern", "values", "keep", "scale", "decimal_mark", "unit"}
    ),
    "usage": frozenset({"column", "type", "format", "zone", "pattern", "values", "words"}),
    "content": frozenset(),
}
