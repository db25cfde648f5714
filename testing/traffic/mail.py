"""E-mail delivery reports, in the shape the webhook pushes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lethe.testing.traffic.accounts import ACCOUNT_WHEEL, ACCOUNTS, APPLICATIONS, TERMS, platform
from lethe.testing.traffic.marks import bulk_member, callback_member, campaign_member, message_ids
from lethe.testing.traffic.outcomes import EMAIL_TABLE, outcomes
from lethe.testing.traffic.population import email, given_name
from lethe.testing.traffic.wheels import SLOTS, wheel
from lethe.testing.traffic.world import World

_APPLICATIONS: Final = wheel([*APPLICATIONS, (None, 2)], 64)
_MAILBOXES: Final = wheel([("no-reply", 5), ("orders", 3), ("news", 2), ("support", 1)], 64)
_TEXTS: Final = (
    "Your order is on its way",
    "Reset your password",
    "Statement for {name}",
    "{name}, your seat is waiting",
    "Facture n\u00b0 20417",
)
_POOLS: Final = ("192.0.2.", "198.51.100.", "203.0.113.")  # RFC 5737: documentation only


def email_reports(world: World) -> Callable[[bool], str]:
    """Build `infobip/email-report` records, one at each call; the argument asks for a late one."""
    draw, anybody, moment, styles = world.draw, world.anybody, world.moment, world.styles
    ends = outcomes(EMAIL_TABLE)
    message_id = message_ids("infobip/email-report", world.seed)

    def build(late: bool) -> str:
        country, rank = anybody()
        address, account = email(country, rank), ACCOUNT_WHEEL[int(draw() * SLOTS)]
        business, terms = ACCOUNTS[account], TERMS[account][country]
        end = ends[int(draw() * SLOTS)]
        sent, done = moment(late, end.delay)
        written = styles[int(draw() * SLOTS)]
        odd, u = draw(), draw()
        sender = f"{_MAILBOXES[int(u * 64)]}@{business.domain}.example.com"
        if odd < 0.3:
            sender = f"{business.senders[0]} <{sender}>"
        to = address.upper() if odd > 0.99 else address
        text = ""
        if odd > 0.25:
            words = _TEXTS[int(u * len(_TEXTS))]
            if "{name}" in words:
                words = words.format(name=given_name(country, rank).capitalize())
            text = f'"text":"{words}",'
        link = ""
        if odd > 0.4:
            page = f"https://view.example.net/m/{int(u * 1e9):08x}?to={address.replace('@', '%40')}"
            link = f'"browserLink":"{page}",'
        price = terms.mail if end.charged else "0"
        attempts = 3 if end.delay > 100_000 else 1
        return (
            f'{{{bulk_member(draw(), sent)}"messageId":"{message_id(draw(), address)}","to":"{to}",'
            f'"sender":"{sender}",{text}"sentAt":"{written(sent)}","doneAt":"{written(done)}","messageCount":1,'
            f'"attemptCount":{attempts},"timeToFirstAttempt":{int(u * 4_000) + 20},'
            f"{callback_member(draw, address)}"
            f'"price":{{"pricePerMessage":{price},"currency":"{terms.currency}"}},'
            f"{end.members},{campaign_member(draw())}{platform(account, _APPLICATIONS[int(draw() * 64)])},"
            f'"sendingIp":"{_POOLS[account % 3]}{10 + account}",{link}"route":"{terms.routes[odd > 0.7]}"}}'
        )

    return build
