"""Ids and free text a client sets: message and bulk ids, callback data, campaign references.

They are where identifiers hide: a few of them hold the end user's own number or address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lethe.testing.traffic.wheels import SLOTS, Draw, identifiers, wheel

# (before, what, after) as JSON string text; what: n(othing), r(eference) or the end user's a(ddress).
_CALLBACKS: Final = wheel(
    [
        (("", "n", ""), 120),
        (('{\\"order\\":', "r", ',\\"step\\":\\"dispatched\\"}'), 180),
        (('{\\"ref\\":\\"', "r", '\\",\\"tenant\\":\\"eu\\"}'), 160),
        (("ord-", "r", ""), 150),
        (("case/", "r", "/reminder"), 70),
        (("", "r", ""), 60),
        (("login", "n", ""), 90),
        (("Caf\u00e9 crew, ticket ", "r", ""), 20),
        (('{\\"msisdn\\":\\"', "a", '\\",\\"flow\\":\\"signup\\"}'), 40),
        (("crm:", "a", ""), 25),
        (("+", "a", ""), 10),
        (("user=", "a", "&src=app"), 20),
    ]
)
_CAMPAIGNS: Final = wheel(
    [
        (None, 600),
        ("spring-offer", 90),
        ("back-to-school", 70),
        ("loyalty-tier-2", 60),
        ("ramadan-hours", 60),
        ("winback-q4", 40),
    ]
)


def message_ids(*names: object) -> Callable[[float, str], str]:
    """Return a function of a uniform value and the end user's address: mostly a UUID, seldom another shape."""
    digits = identifiers("message", *names)

    def message_id(u: float, address: str) -> str:
        h = next(digits)
        if u < 0.93:
            return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-a{h[17:20]}-{h[20:]}"
        if u < 0.98:
            return str(10**17 + int(h[:14], 16))
        if u < 0.996:
            return f"ord-{h[:10]}-{int(h[10], 16)}"
        return f"{h[:6]}-{address}"

    return message_id


def bulk_member(u: float, sent: int) -> str:
    """Write the `bulkId` member with its comma, or nothing; most bulks are numbered by the clock."""
    if u < 0.4:
        return ""
    if u < 0.95:
        return f'"bulkId":"{sent}{str(1_000_000 + int(u * 1e6))[1:]}",'
    if u < 0.97:
        return '"bulkId":null,'
    return f'"bulkId":"bulk-{sent // 3_600_000}-{int(u * 97) % 10}",'


def callback_member(draw: Draw, address: str, absent: str = "") -> str:
    """Write the `callbackData` member with its comma, or `absent`."""
    before, what, after = _CALLBACKS[int(draw() * SLOTS)]
    if what == "r":
        return f'"callbackData":"{before}{int(draw() * 9e6) + 1_000_000}{after}",'
    if what == "a":
        return f'"callbackData":"{before}{address}{after}",'
    return f'"callbackData":"{before}",' if before else absent


def campaign_member(u: float) -> str:
    """Write the `campaignReferenceId` member with its comma, or nothing."""
    name = _CAMPAIGNS[int(u * SLOTS)]
    return "" if name is None else f'"campaignReferenceId":"{name}",'
