"""How well lines fit a declaration, by the names of their fields: before a whole file is taken in under a wrong one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Declaration, Format, formats_of
from lethe.schemas.words import counted
from lethe.streams.transform.decode.reshape import Shapeless, records

_DEEPEST: Final = 12
_MOST_RECORDS: Final = 20
_BETTER: Final = 1.08
"""So much better another one has to fit: those of one vendor differ by less on their own records."""
_GOOD: Final = 0.5
_FEWEST: Final = 5
_HARDLY: Final = 0.15
_FILLED: Final = 1 / 3
"""A declaration of many kinds of records leaves as much empty, but knows what its own records say."""


@dataclass(frozen=True, slots=True)
class Fit:
    """`filled`: of the declared fields, how many a record has a value for; `explained`: of its own, how many are
    declared. Both from 0 to 1, on average over the records that could be read at all; `read`: how many could.
    """

    filled: float
    explained: float
    read: float

    @property
    def score(self) -> float:
        """One number for both: near 0 when either is."""
        total = self.filled + self.explained
        return self.read * (2 * self.filled * self.explained / total if total else 0.0)


def fit(lines: Sequence[bytes], declared: Declaration) -> Fit:
    """Say how well lines fit a declaration; of a mix of kinds, each line by the kind it fits best."""
    kinds = list(formats_of(declared).values())
    found = [max((_one(line, fmt) for fmt in kinds), key=lambda f: f.score) for line in lines]
    read = [one for one in found if one.read]
    if not read:
        return Fit(0.0, 0.0, 0.0)
    return Fit(
        sum(one.filled for one in read) / len(read),
        sum(one.explained for one in read) / len(read),
        len(read) / len(lines),
    )


def better(lines: Sequence[bytes], name: str) -> str | None:
    """Say why lines should not be taken in under a declaration: another fits better, or most of it stays empty.

    None where nothing speaks against it; also where no line can be read, which ends in quarantine and can be replayed,
    and for fewer than five lines, which say too little.
    """
    if len(lines) < _FEWEST:
        return None
    own = fit(lines, formats.get(name))
    others = {other: fit(lines, declared) for other, declared in formats.known().items() if other != name
              and isinstance(declared, Format)}  # fmt: skip
    best = max(others, key=lambda other: others[other].score, default=None)
    if best is not None and others[best].score > max(own.score * _BETTER, _GOOD):
        return (
            f"the first {counted(len(lines), 'record')} fit {best} better than {name}: {_percent(others[best])}, not "
            f"{_percent(own)}; give --format {best}, or --as-declared if {name} is meant"
        )
    empty = own.filled < _HARDLY or (own.filled < _FILLED and own.explained < _GOOD)
    if own.read and empty:
        return (
            f"the first {counted(len(lines), 'record')} leave most fields of {name} empty: {_percent(own)}; give "
            "another --format, or --as-declared if it is meant"
        )
    return None


def _percent(found: Fit) -> str:
    return f"{found.filled:.0%} of its fields are filled and {found.explained:.0%} of theirs declared"


def _one(line: bytes, fmt: Format) -> Fit:
    declared = {_bare(spec.path) for spec in fmt.fields}
    found = []
    for record in _records(line, fmt):
        leaves: dict[str, bool] = {}
        for path, there in _leaves(record, declared, "", 0):
            leaves[path] = leaves.get(path, False) or there
        known = declared & leaves.keys()
        filled = sum(leaves[path] for path in known)
        found.append(Fit(filled / len(declared), len(known) / max(1, len(leaves)), 1.0))
    return max(found, key=lambda f: f.score, default=Fit(0.0, 0.0, 0.0))


def _records(line: bytes, fmt: Format) -> Iterator[dict[str, Any]]:
    try:
        found = [one for _, one in islice(records(line, fmt), _MOST_RECORDS)]
    except Shapeless:
        return
    for one in found:
        inside = one.get(fmt.envelope) if fmt.envelope and isinstance(one, dict) else None
        for record in inside[:_MOST_RECORDS] if isinstance(inside, list) else [one]:
            if isinstance(record, dict):
                yield record


def _bare(path: str) -> str:
    return path.replace("[]", "").replace("[0]", "")


def _leaves(node: Any, declared: set[str], path: str, depth: int) -> Iterator[tuple[str, bool]]:
    """Yield the path of every value, and whether there is anything in it; what is declared whole is one value."""
    if path in declared or not isinstance(node, dict | list) or depth == _DEEPEST:
        yield path, node not in (None, "", [], {})
    elif isinstance(node, list):
        for one in node[:_MOST_RECORDS]:
            yield from _leaves(one, declared, path, depth + 1)
    else:
        for name, one in node.items():
            yield from _leaves(one, declared, f"{path}.{name}" if path else name, depth + 1)
