"""Records as they should not be: each kind of bad input, made from a good record of the format.

A damaged value never passes for a good one: whatever reads it has to refuse it, under its own reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from lethe.testing.traffic.wheels import Draw


class Shape(NamedTuple):
    """What damage has to know of a format: where its address, time, count, price and status are."""

    address: str
    time: str
    parts: str
    price: str
    status: bool


SHAPES: Final = {
    "infobip/sms-report": Shape("to", "sentAt", "messageCount", "pricePerMessage", True),
    "infobip/sms-inbound": Shape("from", "receivedAt", "smsCount", "pricePerMessage", False),
    "infobip/voice-report": Shape("to", "sentAt", "duration", "pricePerSecond", True),
    "infobip/email-report": Shape("to", "sentAt", "messageCount", "pricePerMessage", True),
}
_DEEP: Final = 3_000
_NO_JSON: Final = (
    "OK",
    "<report><to>{address}</to></report>",
    "{address};2024-05-01 10:00:00;DELIVRD;0",
    "{{to: '{address}', status: 'DELIVERED'}}",
    "id:7e5f sub:001 dlvrd:001 submit date:2405011000 done date:2405011001 stat:DELIVRD err:000 text:",
)
_NO_RECORD: Final = ("null", "true", "42", '"{address}"', "[]", '[{{"to":"{address}"}}]', "{{}}")
_NO_TIMES: Final = (
    "yesterday",
    "2023-13-41T25:61:00.000+0000",
    "",
    "2023-02-30T10:00:00.000+0000",
    "10:15",
    "now()",
)
_FUTURE_TIMES: Final = (
    "2199-06-01T09:30:00.000+0000",
    "2999-12-31T23:59:59.999+0000",
    "9999-01-01T00:00:00Z",
)
_NO_NUMBERS: Final = ("NaN", "Infinity", "-Infinity", "1e999", '"NaN"', '"free"')

Damage = Callable[[Draw, str, Shape], str]


def _pick(draw: Draw, choices: tuple[str, ...]) -> str:
    return choices[int(draw() * len(choices))]


def _set(record: str, member: str, value: str) -> str:
    """Replace the first scalar member of that name."""
    pattern = re.compile(rf'"{member}":("(?:[^"\\]|\\.)*"|[^,{{}}\[\]]+)')
    return pattern.sub(lambda _: f'"{member}":{value}', record, count=1)


def _address(record: str, shape: Shape) -> str:
    found = re.search(rf'"{shape.address}":"([^"]*)"', record)
    return found[1] if found else ""


def _not_json(draw: Draw, record: str, shape: Shape) -> str:
    return _pick(draw, _NO_JSON).format(address=_address(record, shape))


def _not_a_record(draw: Draw, record: str, shape: Shape) -> str:
    return _pick(draw, _NO_RECORD).format(address=_address(record, shape))


def _blank(draw: Draw, _record: str, _shape: Shape) -> str:
    return _pick(draw, (" ", "  \t ", "\n", "\r\n", "\u00a0"))


def _newline(draw: Draw, record: str, _shape: Shape) -> str:
    # Raw inside a string, where JSON allows no control character: a trap for whoever splits on lines.
    return _set(record, "messageId", f'"two{_pick(draw, (chr(10), chr(13) + chr(10)))}lines"')


def _two_documents(draw: Draw, record: str, _shape: Shape) -> str:
    return record + _pick(draw, ("", " ", "\n", ",")) + record


def _deep(draw: Draw, record: str, _shape: Shape) -> str:
    if draw() < 0.5:
        return "[" * _DEEP + "]" * _DEEP
    return _set(record, "messageId", '{"a":' * _DEEP + "1" + "}" * _DEEP)


def _wrong_type(draw: Draw, record: str, shape: Shape) -> str:
    at = int(draw() * 4)
    if at == 0:
        return _set(record, shape.address, f'{{"number":"{_address(record, shape)}"}}')
    if at == 1:
        return _set(record, shape.parts, '"many"')
    if at == 2:
        return _set(record, shape.time, '{"year":2024,"month":5}')
    return re.sub(r'"price":\{[^}]*\}', '"price":"gratis"', record, count=1)


def _missing(draw: Draw, record: str, shape: Shape) -> str:
    member = _pick(draw, (shape.address, shape.time))
    if draw() < 0.3:
        return _set(record, member, "null")
    return re.sub(rf'"{member}":"[^"]*",', "", record, count=1)


def _no_number(draw: Draw, record: str, shape: Shape) -> str:
    return _set(record, shape.price, _pick(draw, _NO_NUMBERS))


def _no_time(draw: Draw, record: str, shape: Shape) -> str:
    return _set(record, shape.time, f'"{_pick(draw, _NO_TIMES)}"')


def _future(draw: Draw, record: str, shape: Shape) -> str:
    return _set(record, shape.time, f'"{_pick(draw, _FUTURE_TIMES)}"')


def _currency(draw: Draw, record: str, _shape: Shape) -> str:
    return _set(record, "currency", _pick(draw, ('"QQQ"', '"Euro"', '"\u20ac"', '"ZZZ"')))


def _enumeration(draw: Draw, record: str, shape: Shape) -> str:
    if not shape.status:
        return _currency(draw, record, shape)
    return _set(record, "groupName", _pick(draw, ('"TELEPORTED"', '"Delivered?"', '"GROUP_9"')))


def _truncated(draw: Draw, record: str, _shape: Shape) -> str:
    return record[: 1 + int(draw() * (len(record) - 2))]


_TEXTUAL: Final[dict[str, Damage]] = {
    "not-json": _not_json,
    "not-a-record": _not_a_record,
    "blank": _blank,
    "embedded-newline": _newline,
    "two-documents": _two_documents,
    "deep-nesting": _deep,
    "wrong-type": _wrong_type,
    "missing-field": _missing,
    "not-a-number": _no_number,
    "unparsable-time": _no_time,
    "future-time": _future,
    "unknown-currency": _currency,
    "unknown-enumeration": _enumeration,
    "truncated": _truncated,
}
KINDS: Final = (*_TEXTUAL, "empty", "invalid-utf8")
"""The kinds in the seeded mix. `oversized` can be asked of `damage` too, but is too big to be in it."""


def damage(kind: str, draw: Draw, record: str, format_name: str) -> bytes:
    """Turn a good record of a format into bad input of a kind."""
    shape = SHAPES[format_name]
    if kind == "empty":
        return b""
    if kind == "invalid-utf8":
        broken = (b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\x80")[int(draw() * 4)]
        return _set(record, "messageId", '"cut-@@-here"').encode().replace(b"@@", broken)
    if kind == "oversized":
        return _set(record, "messageId", f'"{"x" * 1_048_576}"').encode()
    return _TEXTUAL[kind](draw, record, shape).encode()
