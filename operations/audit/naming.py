"""What a text may hold that the audit keeps for good: nobody's number or address.

A number cannot be told from a reference by its digits alone, so each place says how many its texts may have.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # a client of a service has no subjects
    from lethe.schemas.subjects.addresses import Subject

IN_ALL: Final = 8
"""Digits that references made here have, and what stands beside them: no number has so few."""
IN_A_ROW: Final = 9
"""Digits one after the other in what others bring along: their references have digits in groups, numbers have ten."""
BEHIND_A_PLUS: Final = 7
"""Digits beside a plus in the words of a court or an authority, whose references have any number of digits."""
_TAIL: Final = 8
_INTERNATIONAL: Final = re.compile(r"(?:\+|\b00)[0-9](?:[ ()./-]{0,2}[0-9]){7}")


def may_name_somebody(
    text: str,
    *,
    in_all: int | None = None,
    in_a_row: int | None = None,
    subjects: Iterable[Subject] = (),
) -> bool:
    """Tell whether a text may hold somebody's number or address, in the digits of any script.

    An @ may be an address, wherever it stands. More digits than `in_all` may be a number, and so may more than
    `in_a_row` one after the other, or eight behind a plus or 00. None: any number of them is fine. Whoever of
    `subjects` ends like something in the text is named by it.
    """
    text = "".join(str(unicodedata.digit(c)) if c.isdigit() else c for c in text)
    digits = "".join(filter(str.isdigit, text))
    if "@" in text or (in_all is not None and len(digits) > in_all):
        return True
    if in_a_row is not None and (re.search(rf"[0-9]{{{in_a_row + 1}}}", text) or _INTERNATIONAL.search(text)):
        return True
    tails = (subject.value[-_TAIL:] for subject in subjects)
    return any(len(tail) == _TAIL and (tail in digits or tail in text) for tail in tails)
