"""Format declarations: which field of an inbound record is what, and where each part goes.

A format is a TOML file (see `docs/formats.md`). What it does not declare never reaches the archive. A file with
`kinds` is no format but says which of several formats a message of a mixed topic has.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, ValidationError, model_validator

from lethe.schemas.arrow import METADATA
from lethe.schemas.declaration.charge import ChargeSpec, impossible
from lethe.schemas.declaration.fields import (
    BY_TYPE,
    ENUM_VALUES,
    STEP,
    Condition,
    Declared,
    FieldPath,
    FieldSpec,
    Rule,
    Swap,
)
from lethe.schemas.declaration.lines import MOST_PATTERNS, LinePattern, check_lines
from lethe.schemas.errors import ConfigurationError

NAME: Final = r"^[a-z0-9-]{1,60}/[a-z0-9-]{1,60}$"
Steps = Annotated[
    tuple[Annotated[str, StringConstraints(pattern=rf"^(\[\]|{STEP}(\.{STEP})*)$")], ...],
    BeforeValidator(lambda given: (given,) if isinstance(given, str) else given),
]
COMBINED_COLUMNS: Final = (
    "address", "identity", "user", "time", "method", "path", "protocol", "status", "bytes", "referer", "agent",
)  # fmt: skip
"""What a line of an access log is cut into."""
_CONSTANTS: Final = ("channel", "direction", "price_unit", "status_group", "currency")
_MOST_BYTES: Final = 1 << 20
_DIRECTION: Final = re.compile(r"(?i)direction|(?:^|[._])leg$|context$")


def bare(path: str) -> str:
    """Return a path without what it says of lists."""
    return path.replace("[]", "").replace("[0]", "")


def _prefixes(path: str) -> list[str]:
    steps = path.split(".")
    return [".".join(steps[: at + 1]) for at in range(len(steps))]


class Format(Declared):
    """A declared inbound format."""

    name: str = Field(pattern=NAME)
    version: int = Field(ge=1)
    title: str = Field(max_length=200)
    data: Literal["communication", "usage"] = "communication"
    encoding: Literal["json", "csv", "pairs", "form", "combined", "lines"] = "json"
    columns: tuple[str, ...] = Field((), max_length=500)  # csv: the names of the columns, in order
    optional_columns: int = Field(0, ge=0, le=400)  # csv: how many of the last ones a line may lack
    headings: bool = False  # csv: lines that name the columns or their types may stand among the others
    lines: tuple[LinePattern, ...] = Field((), max_length=MOST_PATTERNS)  # lines: what a record looks like
    skip_lines: tuple[LinePattern, ...] = Field(
        (), max_length=MOST_PATTERNS
    )  # lines that are no communication
    separator: str = Field(
        " ", min_length=1, max_length=1
    )  # between pairs, or columns of csv (a comma for " ")
    percent_encoded: bool = False  # texts are written as in a URL (FreeSWITCH)
    envelope: str | None = Field(
        None, pattern=r"^[^\s.\[\]]{1,100}$"
    )  # the key of a list of records in one message
    unwrap: Steps = Field((), max_length=5)  # where the record lies in the value, step by step
    each: Steps = Field((), max_length=10)  # lists of which each element is a record of its own
    json_texts: tuple[FieldPath, ...] = Field(
        (), max_length=20
    )  # texts that hold JSON, read as what they hold
    ignore_case: bool = False  # names of members are found however their letters are written
    channel: str | None = None
    direction: str | None = None
    price_unit: str | None = None
    currency: str | None = None
    charge: ChargeSpec | None = None
    status_group: str | None = (
        None  # for records that exist only once something has happened, such as an inbound message
    )
    rules: tuple[Rule, ...] = Field((), alias="rule", max_length=50)
    skips: tuple[Condition, ...] = Field((), alias="skip", max_length=20)  # records that are no communication
    swaps: tuple[Swap, ...] = Field((), alias="swap", max_length=10)  # roles that change places
    fields: tuple[FieldSpec, ...] = Field(alias="field", min_length=1, max_length=500)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        paths = {f.path for f in self.fields}
        if len(paths) != len(self.fields):
            raise ValueError("a field is declared twice")
        self._check_nesting(paths)
        self._check_shape(paths)
        self._check_encoding(paths)
        self._check_conditions(paths)
        self.check_charge(None)
        if self.data == "usage":
            self._check_usage()
        else:
            self._check_communication()
        return self

    def _check_usage(self) -> None:
        """Refuse usage data without a time or a person, or with a field that would go anywhere but the window."""
        foreign = [f.path for f in self.fields if f.class_ not in ("subject", "usage", "content")]
        if foreign or any(f.end_user != "always" for f in self.subjects):
            named = foreign or [f.path for f in self.subjects if f.end_user != "always"]
            raise ValueError(
                f'{named[0]}: a field of usage data is of class usage or content, or a subject with end_user = "always"'
            )
        if self.rules or self.swaps or any(getattr(self, name) is not None for name in _CONSTANTS):
            raise ValueError("usage data fills no column of the archive: no rules, no swaps, no constants")
        times = [f for f in self.usage if f.column == "event_time"]
        if not times or not self.subjects:
            raise ValueError("usage data has a field for event_time and at least one subject")
        if len(times) == 1 and not times[0].required:
            raise ValueError("the field of event_time is required")

    def _check_communication(self) -> None:
        if self.usage:
            raise ValueError(f'{self.usage[0].path}: class usage is for formats with data = "usage"')
        always = {f.column for f in self.archive} | {r.column for r in self.rules}
        always |= {n for n in _CONSTANTS if getattr(self, n)}
        for column in ("event_time", "channel", "direction"):
            if column not in always:
                raise ValueError(f"nothing fills {column}")
        for name in _CONSTANTS:
            value = getattr(self, name)
            if value is not None and value not in ENUM_VALUES[name]:
                raise ValueError(f"{name} has no value {value}")
        times = [f for f in self.archive if f.column == "event_time"]
        if len(times) == 1 and not times[0].required:
            raise ValueError("the field of event_time is required")
        if sum(f.message_id for f in self.fields) > 1:
            raise ValueError("at most one field is the message id")

    def _check_encoding(self, paths: set[str]) -> None:
        if self.optional_columns >= max(1, len(self.columns)):
            raise ValueError("`optional_columns` are some of the `columns` of csv")
        if (self.encoding == "csv") != bool(self.columns):
            raise ValueError("csv, and only csv, names its `columns`")
        if self.columns and (
            len(set(self.columns)) != len(self.columns) or self.envelope or not paths <= set(self.columns)
        ):
            raise ValueError(
                "the fields of csv are among its `columns`, each named once, without an envelope"
            )
        if (self.encoding == "lines") != bool(self.lines) or (self.skip_lines and not self.lines):
            raise ValueError('encoding = "lines", and only it, has patterns in `lines`')
        if self.lines:
            check_lines(self.lines, self.skip_lines, paths)
        if self.encoding == "combined" and not paths <= set(COMBINED_COLUMNS):
            raise ValueError(f"the fields of a combined line are among {', '.join(COMBINED_COLUMNS)}")

    def _check_nesting(self, paths: set[str]) -> None:
        inside = {spec.path for spec in self.fields if self.within(spec)}
        paths = paths - inside
        plain = {bare(p) for p in paths}
        marked = [name for p in paths for name in _prefixes(p)]
        if (
            len(plain) != len(paths)
            or any("[]" in p for p in inside)
            or {bare(name) for name in marked if name[-1] == "]"} & {bare(n) for n in marked if n[-1] != "]"}
            or (self.envelope and any(p.split(".")[0] == self.envelope for p in plain))
        ):
            raise ValueError("a name is a list in one field and none in another")
        for path in plain:
            for above in _prefixes(path)[:-1]:
                if above in plain:
                    raise ValueError(f"{above} and {path}: a field is declared inside another")

    def within(self, spec: FieldSpec) -> str | None:
        """Return the window field that a field standing in for another lies inside of, None for any other field."""
        if spec.instead_of is None:
            return None
        above = {bare(name) for name in _prefixes(spec.path)[:-1]}
        return next((f.path for f in self.fields if f.class_ == "window" and f.path in above), None)

    def _check_shape(self, paths: set[str]) -> None:
        """Refuse what does not go together of the ways in which a value may hold its records."""
        if self.headings and self.encoding != "csv":
            raise ValueError("only csv has `headings`")
        if self.encoding == "csv" and self.separator in '"\r\n':
            raise ValueError("`separator` of csv is no quote and no line break")
        if self.encoding != "json" and (self.envelope or self.unwrap or self.each):
            raise ValueError("`envelope`, `unwrap` and `each` are for json")
        if self.encoding in ("pairs", "form") and any("[" in p for p in paths):
            raise ValueError("pairs of names and values hold no lists")
        if any("[]" in step for step in self.unwrap):
            raise ValueError("`unwrap` leads to one value; lists of records are named in `each`")
        if self.each and self.envelope:
            raise ValueError("records are either in an `envelope` or in `each` of some lists")
        for lists in self.each:
            if not lists.endswith("[]"):
                raise ValueError(f"each: {lists} is to end with [], the list whose elements are records")
            if lists != "[]" and not any(p.startswith(f"{bare(lists)}.") for p in paths):
                raise ValueError(f"each: no field is declared below {bare(lists)}")
        folded = [name.casefold() for name in {bare(n) for p in paths for n in _prefixes(p)}]
        if self.ignore_case and len(set(folded)) < len(folded):
            raise ValueError("with `ignore_case` no two names may differ by case alone")

    def _check_conditions(self, paths: set[str]) -> None:
        conditions = [f.end_user for f in self.fields if isinstance(f.end_user, Condition)]
        swaps = (swap.when for swap in self.swaps)
        for condition in [*conditions, *(r.when for r in self.rules), *swaps, *self.skips]:
            for path in sorted(condition.fields()):
                if path not in paths or "[]" in path:
                    raise ValueError(f"a condition looks at {path}, which is not declared as a single field")
        self._check_swaps()
        single = {p for p in paths if "[]" not in p}
        for spec in self.subjects:
            if spec.domain is not None and spec.domain not in single:
                raise ValueError(f"{spec.path}: its domain {spec.domain} is not declared as a single field")
            if spec.instead_of is not None and spec.instead_of not in {s.path for s in self.subjects}:
                raise ValueError(f"{spec.path}: {spec.instead_of}, which it stands in for, is no subject")
            if isinstance(spec.end_user, Condition) and self._on_a_leg(spec.end_user):
                raise ValueError(
                    f"{spec.path}: the direction of a leg does not say who is a business; "
                    'end_user = "unless_own" leaves it to the site\'s own numbers'
                )

    def _check_swaps(self) -> None:
        """Refuse swaps of roles that no subject has, and two that would have to be done in some order."""
        swapped = [role for swap in self.swaps for role in swap.roles]
        for role in swapped:
            if role not in {spec.role for spec in self.subjects}:
                raise ValueError(f"swap: no subject has the role {role}")
            if swapped.count(role) > 1:
                raise ValueError(f"swap: {role} is in two of them; join their conditions with `any`")

    def swap_of(self, spec: FieldSpec) -> tuple[str, Condition] | None:
        """Return the other role of a subject and when it has it; None for one that always has its own."""
        for swap in self.swaps:
            if spec.role in swap.roles:
                return swap.roles[swap.roles[0] == spec.role], swap.when
        return None

    def _on_a_leg(self, condition: Condition) -> bool:
        """Tell whether a condition asks for the direction of a call's leg."""
        words = {f.path for f in self.archive if f.column == "direction"}
        asked = {p for p in condition.fields() if p in words or _DIRECTION.search(p)}
        calls = self.channel == "voice" or "voice" in {
            word for f in self.archive if f.column == "channel" for word in (f.values or {}).values()
        }
        return bool(asked) and calls

    def check_charge(self, basis: str | None) -> None:
        """Check that charges can be worked out, as declared or by another basis; raises `ValueError` saying why not."""
        if self.charge is None and basis is None:
            return
        filled = {c for f in self.archive for c in (f.column, f.keep) if c}
        filled |= {r.column for r in self.rules} | {n for n in _CONSTANTS if getattr(self, n)}
        if any(f.decimal_mark for f in self.archive):
            filled.add("currency")  # an amount may name its own
        spec = self.charge or ChargeSpec(basis="message")
        wrong = impossible(
            basis or spec.basis, spec, filled, {f.path for f in self.fields if "[]" not in f.path}
        )
        if wrong is not None:
            raise ValueError(wrong)

    def can_charge_by(self, basis: str) -> bool:
        """Tell whether charges can be worked out by a basis: of a mixed topic not all formats have what it needs."""
        try:
            self.check_charge(basis)
        except ValueError:
            return False
        return True

    @property
    def priced(self) -> bool:
        """Tell whether a field of its records holds a price or a charge."""
        return any(f.column in ("price", "charge") for f in self.archive)

    def __hash__(self) -> int:
        return hash((self.name, self.version))

    @property
    def reshaped(self) -> bool:
        """Tell whether values must be taken apart one by one before they are records in JSON."""
        return bool(
            self.encoding != "json" or self.unwrap or self.each or self.json_texts or self.ignore_case
        )

    def of_class(self, name: str) -> tuple[FieldSpec, ...]:
        """Return the fields of one class, as declared."""
        return tuple(f for f in self.fields if f.class_ == name)

    @property
    def subjects(self) -> tuple[FieldSpec, ...]:
        """Return the fields that hold the address of a party."""
        return self.of_class("subject")

    @property
    def archive(self) -> tuple[FieldSpec, ...]:
        """Return the fields that fill a column of the archive."""
        return self.of_class("archive")

    @property
    def usage(self) -> tuple[FieldSpec, ...]:
        """Return the fields that say what was done."""
        return self.of_class("usage")

    @property
    def content(self) -> tuple[FieldSpec, ...]:
        """Return the fields that are dropped."""
        return self.of_class("content")

    @property
    def message_id(self) -> FieldSpec | None:
        """Return the field that names the message, if there is one."""
        return next((f for f in self.fields if f.message_id), None)


class Kinds(Declared):
    """Which format a message of a mixed topic has: by a header or by the value of a field at the top of the record."""

    name: str = Field(pattern=NAME)
    version: int = Field(ge=1)
    title: str = Field(max_length=200)
    header: str | None = Field(None, min_length=1, max_length=200)
    by_field: FieldPath | None = None
    kinds: dict[str, str] = Field(
        min_length=1, max_length=200
    )  # word in the header or field -> name of a format

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.header is None) == (self.by_field is None):
            raise ValueError("the kind is told either by a `header` or `by_field`")
        if self.by_field is not None and "[]" in self.by_field:
            raise ValueError("`by_field` is a single field")
        return self


Declaration = Format | Kinds


def canonical(declared: Format) -> bytes:
    """Return a declaration as the one JSON text (RFC 8785, UTF-8) that is logged; what has its default is left out."""
    values = declared.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def parse(text: str, origin: str) -> Format:
    """Read a format; raises `ConfigurationError` naming `origin`, the field and what is wrong."""
    found = parse_any(text, origin)
    if isinstance(found, Kinds):
        raise ConfigurationError(f"{origin}: declares kinds, not a format")
    return found


def parse_any(text: str, origin: str) -> Declaration:
    """Read a format or a file of kinds; raises `ConfigurationError` as `parse`."""
    try:
        values = tomllib.loads(text)
        return Kinds.model_validate(values) if "kinds" in values else Format.model_validate(values)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{origin}: not TOML: {error}") from None
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)
        # Of the ways in which a field could have been meant, the one with something to say about it.
        first = next((e for e in found if e["type"] == "value_error"), found[0])
        where = ".".join(_named(values, first["loc"])) or "format"
        raise ConfigurationError(f"{origin}: {where}: {first['msg'].removeprefix('Value error, ')}") from None


def _named(values: dict[str, object], loc: tuple[int | str, ...]) -> Iterator[str]:
    """Return the place of an error; a field by its path rather than its number."""
    for at, part in enumerate(loc):
        fields = values.get("field")
        if at == 1 and loc[0] == "field" and isinstance(part, int) and isinstance(fields, list):
            spec = fields[part] if part < len(fields) else None
            yield str(spec.get("path", part)) if isinstance(spec, dict) else str(part)
        else:
            yield str(part)


@cache
def builtin() -> dict[str, Declaration]:
    """Return what comes with Lethe, by name."""
    folder = resources.files("lethe.schemas") / "formats"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    found = [parse_any(f.read_text("utf-8"), f.name) for f in files]
    return {f.name: f for f in found}


def read_directory(directory: Path) -> dict[str, Declaration]:
    """Return the declarations in the `*.toml` files of a directory; raises `ConfigurationError` for the first wrong
    one.
    """
    try:
        files = sorted(directory.glob("*.toml"))
        if not directory.is_dir():
            raise ConfigurationError(f"formats_dir {directory}: no such directory")
        texts = {f: f.read_bytes()[: _MOST_BYTES + 1].decode("utf-8") for f in files}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"formats_dir {directory}: {type(error).__name__}") from None
    found: dict[str, Declaration] = {}
    for file, text in texts.items():
        declared = parse_any(text, file.name)
        if declared.name in found or declared.name in builtin():
            raise ConfigurationError(
                f"{file.name}: there is another format {declared.name}; give this one its own name"
            )
        found[declared.name] = declared
    return found


_added: dict[str, Declaration] = {}
_NAME: Final = re.compile(r"[a-z][a-z-]{0,39}/[a-z][a-z-]{0,39}")
"""What a name of a format looks like: anything else that was given for one is not repeated."""


def use_directory(directory: Path | None) -> None:
    """Let `get` know the formats of a configured directory too (and no other's); called once, with the settings."""
    fresh = read_directory(directory) if directory is not None else {}
    _added.clear()
    _added.update(fresh)
    for declared in fresh.values():
        if isinstance(declared, Kinds):
            formats_of(declared)


def known() -> dict[str, Declaration]:
    """Return every declaration there is, by name."""
    return dict(sorted({**builtin(), **_added}.items()))


def get(name: str) -> Declaration:
    """Return a declaration by name; raises `ConfigurationError` that names the one that was meant, or all there are."""
    found = _added.get(name) or builtin().get(name)
    if found is None:
        shown = f" {name!r}" if _NAME.fullmatch(name) else " of that name"
        meant = get_close_matches(name, known(), 1)
        if meant:
            raise ConfigurationError(
                f"no format{shown}; did you mean {meant[0]}? `lethe formats list` shows all"
            )
        raise ConfigurationError(f"no format{shown}; known formats: {', '.join(known())}")
    return found


def get_format(name: str) -> Format:
    """Return a single format by name; raises `ConfigurationError` for kinds and for unknown names."""
    found = get(name)
    if isinstance(found, Kinds):
        raise ConfigurationError(
            f"{name} is a mix of kinds; name one format: {', '.join(sorted(set(found.kinds.values())))}"
        )
    return found


def formats_of(declared: Declaration) -> dict[str, Format]:
    """Return the formats a declaration can lead to, by word (a format's own name for a format)."""
    if isinstance(declared, Format):
        return {declared.name: declared}
    return {word: get_format(name) for word, name in declared.kinds.items()}


assert set().union(*BY_TYPE.values()) <= set(METADATA.names)  # noqa: S101  (a slip here would lose a column)

__all__ = [
    "ENUM_VALUES",
    "Condition",
    "Declaration",
    "FieldSpec",
    "Format",
    "Kinds",
    "Rule",
    "bare",
    "builtin",
    "canonical",
    "formats_of",
    "get",
    "get_format",
    "known",
    "parse",
    "parse_any",
    "read_directory",
    "use_directory",
]
