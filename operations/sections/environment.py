"""Settings from environment variables: `LETHE_` and the key's name, the keys of sections joined by `__`."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, get_args, get_origin

from lethe.schemas.sections import Section, is_section, members, settings_of
from lethe.tiers.store.failpoint import FOR_TESTS

PREFIX: Final = "LETHE_"
_TEST_POINTS: Final = frozenset({"LETHE_FAIL_POINT"} if FOR_TESTS else ())
NOT_SETTINGS: Final = frozenset({"LETHE_CONFIG", "LETHE_SERVER", "LETHE_CA_FILE"}) | _TEST_POINTS
_TESTS: Final = "LETHE_TEST_"


def overlay(
    model: type[Section], values: Mapping[str, Any], env: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """Lay the `LETHE_*` variables over `values`, as read from a file; return both together, and what is wrong.

    A section or a table is written as JSON, or key by key; its keys are put beside those of the file.
    """
    merged, problems = dict(values), list[str]()
    for name in sorted(env):
        if not name.startswith(PREFIX) or name in NOT_SETTINGS or name.startswith(_TESTS):
            continue
        path = name.removeprefix(PREFIX).lower().split("__")
        known = settings_of(model)
        if path[0] not in known:
            problems.append(f"no setting is called {name}{nearest(name, map(variable, known))}")
            continue
        value: Any = env[name]
        declared = members(_annotation(model, path))
        if any(map(_is_table, declared)):
            try:
                value = json.loads(value)
            except ValueError:
                if not any(one is str or get_origin(one) is Literal for one in declared):
                    problems.append(f"{name}: not JSON, as a section or a table is written")
                    continue
        for key in reversed(path):
            value = {key: value}
        merged = _together(merged, value)
    return merged, problems


def variable(key: str) -> str:
    """Return the variable of a key, `flush.records` or `root`."""
    return PREFIX + key.replace(".", "__").upper()


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which of the known names was perhaps meant: a half-sentence, or nothing."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""


def siblings(model: type[Section], path: Sequence[str]) -> list[str]:
    """Return the keys that may stand where the last one of a path stands."""
    section = next(filter(is_section, members(_annotation(model, path[:-1]))), None)
    return [] if section is None else list(settings_of(section))


def _annotation(model: type[Section], path: Sequence[str]) -> Any:
    """Return the type a key is declared with; None where nothing is."""
    found: Any = model
    for key in path:
        table = next(filter(_is_table, members(found)), None)
        if table is None or get_origin(table) in (list, tuple):
            return None
        if get_origin(table) is dict:
            found = get_args(table)[1]
        else:
            known = settings_of(table)
            found = known[key].annotation if key in known else None
    return found


def _is_table(one: Any) -> bool:
    return get_origin(one) in (dict, list, tuple) or is_section(one)


def _together(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        known = merged.get(key)
        both = isinstance(known, Mapping) and isinstance(value, Mapping)
        merged[key] = _together(known, value) if both else value  # type: ignore[arg-type]
    return merged
