"""Voice message records: one for each call the platform placed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lethe.testing.traffic.accounts import ACCOUNT_WHEEL, ACCOUNTS, APPLICATIONS, TERMS, platform
from lethe.testing.traffic.marks import bulk_member, callback_member, campaign_member, message_ids
from lethe.testing.traffic.outcomes import VOICE_TABLE, outcomes
from lethe.testing.traffic.population import msisdn, network
from lethe.testing.traffic.wheels import SLOTS, wheel
from lethe.testing.traffic.world import World

_FEATURES: Final = wheel([("Text-to-Speech", 6), ("Voice-message", 3), ("Outbound IVR", 2)], 64)
_DIGITS: Final = wheel(
    [('""', 40), ("null", 10), ('"1"', 25), ('"3, 9"', 10), ('"4711"', 8), ('"2,2,8834"', 7)]
)
_SCENARIOS: Final = (
    ("333", "Delivery slot"),
    ("340", "Payment reminder"),
    ("351", "Appointment"),
    ("352", "Survey 2"),
)
_APPLICATIONS: Final = wheel([*APPLICATIONS, (None, 2)], 64)


def voice_reports(world: World) -> Callable[[bool], str]:
    """Build `infobip/voice-report` records, one at each call; the argument asks for a late one."""
    draw, anybody, moment, styles = world.draw, world.anybody, world.moment, world.styles
    ends = outcomes(VOICE_TABLE)
    message_id = message_ids("infobip/voice-report", world.seed)

    def build(late: bool) -> str:
        country, rank = anybody()
        number, account = msisdn(country, rank), ACCOUNT_WHEEL[int(draw() * SLOTS)]
        terms = TERMS[account][country]
        end = ends[int(draw() * SLOTS)]
        sent, over = moment(late, end.delay)
        written = styles[int(draw() * SLOTS)]
        odd = draw()
        home = "null" if odd < 0.01 else f'"{network(country, rank)}"'
        price = terms.second if end.charged else "0"
        return (
            f'{{{bulk_member(draw(), sent)}"messageId":"{message_id(draw(), number)}",'
            f'"from":"{ACCOUNTS[account].long_number}","to":"{"+" if odd > 0.98 else ""}{number}",'
            f'"sentAt":"{written(sent)}","mccMnc":{home},{callback_member(draw, number)}'
            f'"voiceCall":{{{voice_call(sent, over, end.answered_by, written)}}},'
            f'"price":{{"pricePerSecond":{price},"currency":"{terms.currency}"}},{end.members},'
            f"{campaign_member(draw())}{platform(account, _APPLICATIONS[int(draw() * 64)])},"
            f'"route":"{terms.routes[odd > 0.7]}"}}'
        )

    def voice_call(sent: int, over: int, answered_by: str, written: Callable[[int], str]) -> str:
        feature = _FEATURES[int(draw() * 64)]
        u = draw()
        media = f'"fileDuration":{int(40 + u * 260)}.{int(u * 1000) % 10}'
        if not answered_by:
            start = min(sent + 700, over)
            return (
                f'"feature":"{feature}","startTime":"{written(start)}","answerTime":null,"endTime":"{written(over)}",'
                f'"duration":0,"chargedDuration":0,{media}'
            )
        start = min(sent + 600 + int(u * 900), over)
        finish = min(over + 2_000 + int(u * u * 118_000), world.until - 1)
        duration = (finish - over) // 1000
        charged = -(-duration // 30) * 30
        head = (
            f'"feature":"{feature}","startTime":"{written(start)}","answerTime":"{written(over)}",'
            f'"endTime":"{written(finish)}","duration":{duration},"chargedDuration":{charged},{media},'
        )
        who = f'"answeredBy":"{answered_by}",' if u < 0.9 else ""
        recording = ""
        if u < 0.2:
            recording = f'"callRecordingFileId":"rec-{sent:x}-{int(u * 1e6):05x}",'
        digits = _DIGITS[int(draw() * SLOTS)]
        return f'{head}{who}{recording}"dtmfCodes":{digits},{_ivr(feature, draw())}'[:-1]

    return build


def _ivr(feature: str, u: float) -> str:
    if feature != "Outbound IVR":
        return '"ivr":null,' if u < 0.2 else ""
    scenario, name = _SCENARIOS[int(u * len(_SCENARIOS))]
    pressed = int(u * 9_000) + 1_000
    spoken = '"I want to speak to an agent"' if u > 0.6 else "null"
    matched = '"agent"' if u > 0.6 else "null"
    return (
        f'"ivr":{{"scenarioId":"{scenario}","scenarioName":"{name}",'
        f'"collectedDtmfs":"{{\\"pin\\":\\"{pressed}\\"}}","collectedMappedDtmfs":null,'
        f'"spokenInput":{spoken},"matchedSpokenInput":{matched}}},'
    )
