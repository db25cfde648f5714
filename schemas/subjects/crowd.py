"""Which of thousands of addresses may stand in a text: those of whom a few characters stand there.

Patterns are tried one after the other, so that their time grows with the people sought; here each place of a text is
looked up once, however many they are. Seven digits of a number, or six characters of another address, lead to whom they
may be of; whether it is them is for a pattern to say.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

SEPARATORS: Final = r"[\s().\-/\u2010-\u2015\u00a0]{0,3}"
"""What may stand between two digits of a number."""
_PLAIN: Final = np.zeros(256, np.bool_)
_PLAIN[list(b" \t\n\r\f\v\x1c\x1d\x1e\x1f().-/\xa0")] = True
_GAP: Final = 3

_DIGITS: Final = 7
_CHARACTERS: Final = 6
_RUN: Final = re.compile(rf"[0-9](?:{SEPARATORS}[0-9]){{{_DIGITS - 1},}}")
_ALL_DIGITS: Final = re.compile(rf"[0-9]{{{_DIGITS},}}")
_NO_DIGIT: Final = re.compile(r"[^0-9]+")
_HASHED: Final = 20
"""Bits of the table that most places of a column are left out by."""
_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)


class Crowd:
    """Addresses by their owner, a number from 0 on: `digits` as they are dialled, `words` in lower case."""

    def __init__(self, digits: Sequence[Iterable[str]], words: Sequence[Iterable[str]]) -> None:
        self._digits: dict[str, list[tuple[str, int]]] = {}
        self._words: dict[str, list[tuple[str, int]]] = {}
        self._always: set[int] = set()
        """Whose addresses are too short to lead anywhere."""
        owned = [(number, owner) for owner, numbers in enumerate(digits) for number in numbers]
        texts = [(word, owner) for owner, some in enumerate(words) for word in some]
        for number, owner in owned + [(w, o) for w, o in texts if _ALL_DIGITS.fullmatch(w)]:
            self._digits.setdefault(number[-_DIGITS:], []).append((number, owner))
        texts = [(word, owner) for word, owner in texts if not _ALL_DIGITS.fullmatch(word)]
        usual = Counter(window for word, _ in texts for window in _windows(word))
        for word, owner in texts:
            if len(word) < _CHARACTERS:
                self._always.add(owner)
            else:
                self._words.setdefault(min(_windows(word), key=lambda w: usual[w]), []).append((word, owner))
        self._dialled = np.zeros(10**_DIGITS, np.bool_)
        self._dialled[[int(number) for number in self._digits]] = True
        plain = [word.encode() for word in self._words if word.isascii()]
        self._keys = np.sort(np.array([int.from_bytes(word, "big") for word in plain], np.uint64))
        self._hashes = np.zeros(1 << _HASHED, np.bool_)
        self._hashes[_hash(self._keys)] = True

    def near(self, text: str) -> set[int]:
        """Return whose addresses stand in a text in lower case and ASCII digits, whatever stands around them."""
        found = set(self._always)
        for run in _RUN.finditer(text) if self._digits else ():
            digits = _NO_DIGIT.sub("", run[0])
            for at in range(len(digits) - _DIGITS + 1):
                for number, owner in self._digits.get(digits[at : at + _DIGITS], ()):
                    if digits.endswith(number, 0, at + _DIGITS):
                        found.add(owner)
        if self._words:
            for window in _windows(text):
                for word, owner in self._words.get(window, ()):
                    if word in text:
                        found.add(owner)
        return found

    def suspects(self, values: pa.Array) -> Any:
        """Tell for each value of a column of bytes whether one of the addresses may stand in its plain characters."""
        if self._always:
            return np.ones(len(values), np.bool_)
        suspected = np.zeros(len(values), np.bool_)
        if not len(values):
            return suspected
        # Offsets of four bytes, also of a slice.
        offsets = np.frombuffer(values.buffers()[1], np.int32)[
            values.offset : values.offset + len(values) + 1
        ]
        start, end = int(offsets[0]), int(offsets[-1])
        if start == end:
            return suspected
        data = np.frombuffer(values.buffers()[2], np.uint8)[start:end]
        places = np.concatenate([self._numbers(data), self._others(data)])
        suspected[np.searchsorted(offsets, places + start, "right") - 1] = True
        return suspected

    def _numbers(self, data: Any) -> Any:
        """Return where digits end that stand within one of the numbers."""
        digit = (data >= ord("0")) & (data <= ord("9"))
        places = np.flatnonzero(digit)
        if len(places) < _DIGITS:
            return places[:0]
        # Two digits belong together that nothing but a few separators lies between.
        between = np.diff(places) - 1
        joined = (between <= _GAP) & (np.diff(np.cumsum(_PLAIN[data])[places]) == between)
        run = np.concatenate([[0], np.cumsum(joined)])
        values = data[places].astype(np.int32) - ord("0")
        count = len(values) - _DIGITS + 1
        windows = np.zeros(count, np.int32)
        for at in range(_DIGITS):
            windows = windows * 10 + values[at : at + count]
        whole = run[_DIGITS - 1 :] - run[:count] == _DIGITS - 1
        return places[_DIGITS - 1 :][whole & self._dialled[windows]]

    def _others(self, data: Any) -> Any:
        """Return where characters begin that stand within one of the words."""
        count = len(data) - _CHARACTERS + 1
        if not len(self._keys) or count < 1:
            return np.zeros(0, np.int64)
        lower = np.where((data >= ord("A")) & (data <= ord("Z")), data + 32, data).astype(np.uint64)
        windows = np.zeros(count, np.uint64)
        for at in range(_CHARACTERS):
            windows = (windows << np.uint64(8)) | lower[at : at + count]
        places = np.flatnonzero(self._hashes[_hash(windows)])
        near = np.minimum(np.searchsorted(self._keys, windows[places]), len(self._keys) - 1)
        return places[self._keys[near] == windows[places]]


def _windows(text: str) -> Iterator[str]:
    return (text[at : at + _CHARACTERS] for at in range(len(text) - _CHARACTERS + 1))


def _hash(keys: Any) -> Any:
    return (keys * _FACTOR) >> np.uint64(64 - _HASHED)
