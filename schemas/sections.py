"""Sections of a configuration: what may be set, of which type and within which bounds, checked all at once.

A section declares its settings as a dataclass does; what is read becomes one typed value that does not change. Every
command reads the configuration, most read nothing else that is declared: so this is no model of pydantic, whose import
and models would cost a command a quarter of its start (ADR 17).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from types import UnionType
from typing import (
    Any,
    ClassVar,
    Final,
    Literal,
    NamedTuple,
    Self,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
)
from typing import get_type_hints as type_hints

Problem = tuple[tuple[str, ...], str]
"""The keys that lead to a setting, and what is wrong with it: never its value."""
UNKNOWN: Final = "no setting is called so"
_NO_DEFAULT: Final = object()
_WORDS: Final = {
    **dict.fromkeys(("true", "yes", "on", "1", "t", "y"), True),
    **dict.fromkeys(("false", "no", "off", "0", "f", "n"), False),
}


class SectionError(ValueError):
    """A section that is not as it is declared: everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Keep what is wrong, one problem a setting."""
        super().__init__("; ".join(f"{'.'.join(keys)}: {what}" if keys else what for keys, what in problems))
        self.problems = tuple(problems)


class Secret:
    """A text that no error, log or `repr` shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Keep a text."""
        self._text = text

    def get_secret_value(self) -> str:
        """Return the text in the clear."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('**********')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class Setting(NamedTuple):
    """What is declared of one setting beside its type. Bounds of a text or a list are those of its length."""

    default: Any = _NO_DEFAULT
    make: Callable[[], Any] | None = None
    least: float | None = None
    most: float | None = None
    pattern: str | None = None
    reads: Callable[[Any], Any] | None = None
    check: Callable[[Any], None] | None = None


class Declared(NamedTuple):
    """One setting of a section, ready to be read."""

    annotation: Any
    read: Callable[[Any], Any]
    setting: Setting

    @property
    def default(self) -> Any:
        """What counts where nothing is set."""
        return self.setting.make() if self.setting.make else self.setting.default


def setting(
    *,
    default: Any = _NO_DEFAULT,
    default_factory: Callable[[], Any] | None = None,
    ge: float | None = None,
    le: float | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    pattern: str | None = None,
    reads: Callable[[Any], Any] | None = None,
    check: Callable[[Any], None] | None = None,
    description: str = "",  # noqa: ARG001  (said beside the setting, for who reads the code)
) -> Any:
    """Declare the default and the bounds of a setting.

    `pattern` fits the whole text. `reads` goes before the type: it makes another spelling of a value the usual one.
    `check` comes last and raises `ValueError` with what would be right.
    """
    least, most = (ge, le) if min_length is None and max_length is None else (min_length, max_length)
    return Setting(default, default_factory, least, most, pattern, reads, check)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(setting,))
class Section:
    """What every section has in common: nothing unknown in it, and it does not change.

    Raises `SectionError` with all that is wrong when it is made. A subclass may say in `check` what settings ask of
    each other; it is asked where each of them is right by itself.
    """

    _declared: ClassVar[Mapping[str, Declared]]

    def __init__(self, **given: Any) -> None:
        """Read the settings that are given; the others are their defaults."""
        known = settings_of(type(self))
        problems: list[Problem] = [((name,), UNKNOWN) for name in given if name not in known]
        for name, declared in known.items():
            if name not in given:
                if declared.default is _NO_DEFAULT:
                    problems.append(((name,), "it is missing"))
                self.__dict__[name] = declared.default
                continue
            try:
                self.__dict__[name] = declared.read(given[name])
            except SectionError as error:
                problems += [((name, *keys), what) for keys, what in error.problems]
            except ValueError as error:
                problems.append(((name,), str(error)))
        if problems:
            raise SectionError(problems)
        try:
            self.check()
        except ValueError as error:
            raise SectionError([((), str(error))]) from None

    def check(self) -> None:
        """Check what settings ask of each other; raises `ValueError` with what is wrong."""

    def replaced(self, **more: Any) -> Self:
        """Return the section with some settings changed."""
        return type(self)(**self._values() | more)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name}: a section does not change")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Section) and type(other) is type(self) and other._values() == self._values()

    def __hash__(self) -> int:
        return hash(tuple(self._values().values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._values().items())})"

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in settings_of(type(self))}


def settings_of(section: type[Section]) -> Mapping[str, Declared]:
    """Return the settings of a section by name, in the order they are declared."""
    known = section.__dict__.get("_declared")
    return _declare(section) if known is None else known


def _declare(section: type[Section]) -> Mapping[str, Declared]:
    found = {}
    for name, annotation in type_hints(section).items():
        if name.startswith("_") or get_origin(annotation) is ClassVar:
            continue
        given = getattr(section, name, _NO_DEFAULT)
        declared = given if isinstance(given, Setting) else Setting(given)
        found[name] = Declared(annotation, _reader(annotation, declared), declared)
    section._declared = found
    return found


def members(annotation: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the one type there is."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _reader(annotation: Any, bounds: Setting) -> Callable[[Any], Any]:
    """Return what reads a value of a type, as a file or the environment has it; it raises `ValueError`."""
    kinds = members(annotation)
    several = [kind for kind in kinds if kind is not type(None)]
    read = _one_of_sections(several) if len(several) > 1 and all(map(is_section, several)) else None
    read = read or _first_that_fits([_read_as(kind) for kind in several])

    def whole(value: Any) -> Any:
        if value is None and type(None) in kinds:
            return None
        found = read(bounds.reads(value) if bounds.reads else value)
        _within(found, bounds)
        if bounds.check:
            bounds.check(found)
        return found

    return whole


def _read_as(kind: Any) -> Callable[[Any], Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return lambda value: _word(value, arguments)
    if origin is tuple:
        each = _reader(arguments[0], Setting())
        return lambda value: tuple(
            one for _, one in _pairs(str, each, dict(enumerate(_as(value, (list, tuple), "a list"))))
        )
    if origin is dict:
        key, each = _read_as(arguments[0]), _reader(arguments[1], Setting())
        return lambda value: dict(_pairs(key, each, _as(value, Mapping, "a table")))
    if is_section(kind):
        return lambda value: value if isinstance(value, kind) else kind(**_as(value, Mapping, "a section"))
    if issubclass(kind, Enum):
        return lambda value: kind(_word(value, [one.value for one in kind]))
    return _SCALARS.get(kind) or (lambda value: value if isinstance(value, kind) else kind(_text(value)))


def is_section(kind: Any) -> bool:
    """Tell whether a type is that of a section."""
    return isinstance(kind, type) and issubclass(kind, Section)


def _one_of_sections(kinds: Sequence[type[Section]]) -> Callable[[Any], Section]:
    """Read the section whose `kind` is the one that is named."""
    by_kind = {get_args(settings_of(one)["kind"].annotation)[0]: one for one in kinds}

    def read(value: Any) -> Section:
        if isinstance(value, tuple(kinds)):
            return value  # type: ignore[return-value]
        table = _as(value, Mapping, "a section")
        try:
            return by_kind[_word(table.get("kind"), list(by_kind))](**table)
        except SectionError:
            raise
        except ValueError as error:
            raise SectionError([(("kind",), str(error))]) from None

    return read


def _first_that_fits(readers: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    if len(readers) == 1:
        return readers[0]

    def read(value: Any) -> Any:
        wrong = []
        for one in readers:
            try:
                return one(value)
            except ValueError as error:
                wrong.append(str(error))
        raise ValueError(", or ".join(wrong))

    return read


def _pairs(
    key: Callable[[Any], Any], read: Callable[[Any], Any], values: Mapping[Any, Any]
) -> list[tuple[Any, Any]]:
    """Read keys and values, and say of all of them what is wrong."""
    found, problems = [], list[Problem]()
    for name, value in values.items():
        try:
            found.append((key(name), read(value)))
        except SectionError as error:
            problems += [((str(name), *keys), what) for keys, what in error.problems]
        except ValueError as error:
            problems.append(((str(name),), str(error)))
    if problems:
        raise SectionError(problems)
    return found


def _as(value: Any, kind: Any, told: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{told} is needed")
    return value


def _word(value: Any, words: Sequence[Any]) -> Any:
    if value not in words:
        raise ValueError(f"one of {', '.join(map(str, words))}")
    return value


def _text(value: Any) -> str:
    return str(_as(value, str, "a text"))


def _bool(value: Any) -> bool:
    word = str(value).lower()
    if word not in _WORDS:
        raise ValueError("true or false is needed")
    return _WORDS[word]


def _int(value: Any) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"[+-]?[0-9]{1,18}(\.0)?", text):
        raise ValueError("a whole number is needed")
    return int(text.removesuffix(".0"))


def _float(value: Any) -> float:
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise ValueError("a number is needed")
    return found


_SCALARS: Final[Mapping[Any, Callable[[Any], Any]]] = {str: _text, int: _int, float: _float, bool: _bool}


def _within(value: Any, bounds: Setting) -> None:
    """Check a value against its bounds."""
    if isinstance(value, Secret):
        value = value.get_secret_value()
    size, of = (value, "") if isinstance(value, int | float) else (None, "")
    if isinstance(value, str | tuple | Mapping):
        size, of = len(value), " characters" if isinstance(value, str) else " entries"
    if size is not None and bounds.least is not None and size < bounds.least:
        raise ValueError(f"at least {bounds.least:,}{of}")
    if size is not None and bounds.most is not None and size > bounds.most:
        raise ValueError(f"at most {bounds.most:,}{of}")
    if bounds.pattern is not None and not re.fullmatch(bounds.pattern, value):
        raise ValueError(f"written as {bounds.pattern}")
