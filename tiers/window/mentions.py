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
from lethe.schemas.subjects.spellings import spellings

_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_BETWEEN = re.compile(r"(?<=\d)[\s().\-/\u2010-\u2015\u00a0]{1,3}(?=\d)")

_LONG = 7  # shorter values occur by chance, so they must stand alone


def readings(value: bytes) -> list[str]:
    """Return the texts a value may be read as, in lower case: as it is, unescaped, its numbers drawn together."""
    text = value.decode("utf-8", "replace")
    for _ in range(2):  # a record inside a text field of another one is escaped twice
        text = _ESCAPE.sub(lambda m: chr(int(m[1], 16)), text).replace("\\/", "/").replace('\\"', '"')
    text = unicodedata.normalize("NFKC", unquote(unquote(text, errors="replace"), errors="replace")).lower()
    text = "".join(str(unicodedata.digit(c, c)) if not c.isascii() else c for c in text)
    wide = value.replace(b"\0", b"").decode("utf-8", "ignore").lower()  # UTF-16 and the like
    return [text, _BETWEEN.sub("", text), wide]


def mentions(value: bytes, subjects: Iterable[Subject], others: Iterable[str] = ()) -> bool:
    """Tell whether one of the subjects, or of the other texts (message ids, accounts), occurs in the value."""
    subjects = tuple(subjects)
    wanted = {o.lower() for o in others if o}
    for subject in subjects:
        wanted.add(subject.value.lower())
        if subject.kind == "chat":  # a record names the id alone
            wanted.add(subject.value.partition(":")[2].lower())
    texts = readings(value)
    if any(_occurs(w, text) for w in wanted if w for text in texts):
        return True
    spelt = _spellings(subjects)
    return spelt is not None and spelt.found_in(texts)


_spellings = lru_cache(maxsize=64)(spellings)


def _occurs(wanted: str, text: str) -> bool:
    if len(wanted) >= _LONG:
        return wanted in text
    return re.search(rf"(?<![^\W_]){re.escape(wanted)}(?![^\W_])", text) is not None
