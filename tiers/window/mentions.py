"""Whether raw bytes that could not be read as a record name a person: for what lies in quarantine.

Rather too often than too seldom: a value that is kept although it names the person would be the worse mistake.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import unquote

from lethe.schemas.subjects.addresses import Subject
from lethe.schemas.subjects.crowd import Crowd
from lethe.schemas.subjects.spellings import spellings

_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_BETWEEN = re.compile(r"(?<=\d)[\s().\-/\u2010-\u2015\u00a0]{1,3}(?=\d)")

_WORD = re.compile(r"[^\W_]+")
_LONG = 7  # shorter values occur by chance, so they must stand alone
_FEW = 50


def readings(value: bytes) -> list[str]:
    """Return the texts a value may be read as, in lower case: as it is, unescaped, its numbers drawn together."""
    text = value.decode("utf-8", "replace")
    for _ in range(2):  # a record inside a text field of another one is escaped twice
        text = _ESCAPE.sub(lambda m: chr(int(m[1], 16)), text).replace("\\/", "/").replace('\\"', '"')
    text = unicodedata.normalize("NFKC", unquote(unquote(text, errors="replace"), errors="replace")).lower()
    text = "".join(str(unicodedata.digit(c, c)) if not c.isascii() else c for c in text)
    wide = value.replace(b"\0", b"").decode("utf-8", "ignore").lower()  # UTF-16 and the like
    return [text, _BETWEEN.sub("", text), wide]


class Wanted:
    """Subjects and other texts (message ids, accounts) to look for in raw values, however many there are."""

    __slots__ = ("_crowd", "_long", "_odd", "_short", "spellings")

    def __init__(self, subjects: Iterable[Subject], others: Iterable[str] = ()) -> None:
        subjects = tuple(subjects)
        wanted = {o.lower() for o in others if o}
        for subject in subjects:
            wanted.add(subject.value.lower())
            if subject.kind == "chat":  # a record names the id alone
                wanted.add(subject.value.partition(":")[2].lower())
        wanted.discard("")
        self._long = sorted(w for w in wanted if len(w) >= _LONG)
        self._short = {w for w in wanted if len(w) < _LONG and _WORD.fullmatch(w)}
        self._odd = [w for w in wanted if len(w) < _LONG and w not in self._short]
        self._crowd = Crowd([], [[w] for w in self._long]) if len(self._long) > _FEW else None
        self.spellings = spellings(subjects)
        """What is looked for in records of others."""

    def named_in(self, value: bytes) -> bool:
        """Tell whether one of them occurs in a value."""
        texts = readings(value)
        return any(map(self._occur, texts)) or (self.spellings is not None and self.spellings.found_in(texts))

    def _occur(self, text: str) -> bool:
        near = self._long if self._crowd is None else (self._long[at] for at in self._crowd.near(text))
        return (
            any(w in text for w in near)
            or (bool(self._short) and any(w[0] in self._short for w in _WORD.finditer(text)))
            or any(re.search(rf"(?<![^\W_]){re.escape(w)}(?![^\W_])", text) for w in self._odd)
        )


def mentions(value: bytes, subjects: Iterable[Subject], others: Iterable[str] = ()) -> bool:
    """Tell whether one of the subjects, or of the other texts, occurs in the value."""
    return wanted(tuple(subjects), tuple(others)).named_in(value)


wanted = lru_cache(maxsize=64)(Wanted)
"""Makes `Wanted`, or gives back the one that was made of the same."""
