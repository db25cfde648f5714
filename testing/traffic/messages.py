"""Text message records: delivery reports and what end users write back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lethe.testing.traffic.accounts import ACCOUNT_WHEEL, ACCOUNTS, APPLICATIONS, TERMS, platform
from lethe.testing.traffic.marks import bulk_member, callback_member, campaign_member, message_ids
from lethe.testing.traffic.outcomes import SMS_TABLE, outcomes
from lethe.testing.traffic.population import msisdn, network
from lethe.testing.traffic.wheels import SLOTS, wheel
from lethe.testing.traffic.world import World

_NO_CALLBACK: Final = '"callbackData":null,'
_PARTS: Final = wheel([(1, 760), (2, 180), (3, 50), (4, 10)])
_APPLICATIONS: Final = wheel(APPLICATIONS)
# keyword, the rest of the text as JSON string text, parts
_TEXTS: Final = wheel(
    [
        (("YES", "", 1), 20),
        (("STOP", "", 1), 18),
        (("BAL", "", 1), 14),
        (("JOIN", "gold", 1), 10),
        (("TRACK", "CD-88213", 1), 12),
        (("", "Thank you, see you tomorrow", 1), 8),
        (
            (
                "",
                "Please call me back, I was charged twice for the same order and nobody answers the phone.",
                1,
            ),
            6,
        ),
        (("", "\u0634\u06a9\u0631\u06cc\u06c1", 1), 5),
        (("", "\\u0645\\u0631\\u062d\\u0628\\u0627", 1), 3),
        (("HELP", "my parcel is at the wrong address", 1), 5),
        (("VOTE", "7", 1), 6),
        (("", "ok \U0001f44d", 1), 4),
        (("", 'line one\\nline two \\"quoted\\"', 2), 2),
    ]
)


def sms_reports(world: World) -> Callable[[bool], str]:
    """Build `infobip/sms-report` records, one at each call; the argument asks for a late one."""
    draw, anybody, moment, styles = world.draw, world.anybody, world.moment, world.styles
    ends = outcomes(SMS_TABLE)
    message_id = message_ids("infobip/sms-report", world.seed)
    tails = {
        (a, c): wheel(
            [
                (f'{platform(a, app)},"route":"{route}"', weight)
                for app, weight in (*APPLICATIONS, (None, 1))
                for route in TERMS[a][c].routes
            ],
            64,
        )
        for a in range(len(TERMS))
        for c in range(len(TERMS[0]))
    }
    prices = [[f'"pricePerMessage":{t.message},"currency":"{t.currency}"' for t in row] for row in TERMS]
    free = [[f'"pricePerMessage":0,"currency":"{t.currency}"' for t in row] for row in TERMS]
    senders = [
        wheel([(s, 8) for s in a.senders] + [(a.short_code, 1), (a.long_number, 1)], 64) for a in ACCOUNTS
    ]

    def build(late: bool) -> str:
        country, rank = anybody()
        number, account = msisdn(country, rank), ACCOUNT_WHEEL[int(draw() * SLOTS)]
        end = ends[int(draw() * SLOTS)]
        sent, done = moment(late, end.delay)
        written = styles[int(draw() * SLOTS)]
        odd = draw()
        price = prices[account][country] if end.charged else free[account][country]
        if odd < 0.001:
            price = '"pricePerMessage":0.0,"currency":"UNKNOWN"'
        to = f"+{number}" if odd > 0.98 else number
        home = "null" if 0.001 < odd < 0.01 else f'"{network(country, rank)}"'
        marked = draw()
        return (
            f'{{{bulk_member(draw(), sent)}"messageId":"{message_id(draw(), number)}","to":"{to}",'
            f'"sender":"{senders[account][int(marked * 64)]}",'
            f'"sentAt":"{written(sent)}","doneAt":"{written(done)}",'
            f'"messageCount":{_PARTS[int(draw() * SLOTS)]},'
            f'"mccMnc":{home},{callback_member(draw, number)}"price":{{{price}}},{end.members},'
            f"{campaign_member(draw())}{tails[account, country][int(draw() * 64)]}}}"
        )

    return build


def sms_inbound(world: World) -> Callable[[bool], str]:
    """Build `infobip/sms-inbound` records: end users write to a business's short code or number."""
    draw, anybody, moment, styles = world.draw, world.anybody, world.moment, world.styles
    message_id = message_ids("infobip/sms-inbound", world.seed)
    own = [wheel([(a.short_code, 3), (a.long_number, 2)], 64) for a in ACCOUNTS]

    def build(late: bool) -> str:
        country, rank = anybody()
        number, account = msisdn(country, rank), ACCOUNT_WHEEL[int(draw() * SLOTS)]
        terms = TERMS[account][country]
        received, _ = moment(late, 0)
        written = styles[int(draw() * SLOTS)]
        keyword, rest, parts = _TEXTS[int(draw() * SLOTS)]
        text = f"{keyword} {rest}" if keyword and rest else keyword or rest
        odd = draw()
        application = _APPLICATIONS[int(draw() * SLOTS)]
        price = terms.message if odd < 0.25 else "0"
        return (
            f'{{"messageId":"{message_id(draw(), number)}",'
            f'"from":"{"+" if odd > 0.98 else ""}{number}",'
            f'"to":"{own[account][int(draw() * 64)]}","text":"{text}","cleanText":"{rest}",'
            + (f'"keyword":"{keyword}",' if keyword else ("" if odd < 0.5 else '"keyword":null,'))
            + f'"receivedAt":"{written(received)}","smsCount":{parts},'
            f'"price":{{"pricePerMessage":{price},"currency":"{terms.currency}"}},'
            f"{callback_member(draw, number, absent=_NO_CALLBACK) if odd < 0.3 else _NO_CALLBACK}"
            + (f'"applicationId":"{application}",' if odd < 0.9 else "")
            + f'"entityId":"{ACCOUNTS[account].name}",{campaign_member(draw())}'
            f'"route":"{terms.routes[odd < 0.2]}"}}'
        )

    return build
