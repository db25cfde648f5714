"""Lines of logs made from a format's own fixture: other texts stand where its patterns name a part."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path

from lethe.schemas.declaration.format import Format

FOLDER = Path(__file__).parent / "fixtures" / "formats"
_ISO = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9:]{8}).*")


@lru_cache(maxsize=64)
def patterns(fmt: Format) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern) for pattern in fmt.lines)


@lru_cache(maxsize=64)
def _template(fmt: Format) -> re.Match[str]:
    """The fixture's line that names most parts."""
    lines = (FOLDER / f"{fmt.name}.log").read_text("utf-8").splitlines()
    found = [m for line in lines for p in patterns(fmt) if (m := p.fullmatch(line))]
    return max(found, key=lambda m: sum(text is not None for text in m.groupdict().values()))


def log_line(fmt: Format, texts: Mapping[str, str], template: re.Match[str] | None = None) -> bytes:
    """The line with these parts, whether or not it is still one that fits."""
    match = template or _template(fmt)
    line = match.string
    for name in sorted(texts.keys() & match.re.groupindex, key=match.start, reverse=True):
        if match.start(name) >= 0:
            line = line[: match.start(name)] + texts[name] + line[match.end(name) :]
    return line.encode(errors="replace").replace(b"\n", b" ")


def fitting_line(fmt: Format, texts: Mapping[str, str], given: Collection[str] = ()) -> bytes:
    """The line with these parts, but for those with which it would not fit; `given` ones stand there all the same."""
    match, unfit = _template(fmt), dict[str, str]()
    for name, text in texts.items():
        for one in (text, _ISO.sub(r"\1 \2", text)):
            changed = match.re.fullmatch(log_line(fmt, {name: one}, match).decode())
            if name in match.re.groupindex and changed is not None and changed[name] == one:
                match = changed
                break
        else:
            if name in given:
                unfit[name] = text
    return log_line(fmt, unfit, match)
