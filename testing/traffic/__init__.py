"""Seeded, made-up traffic in the real shapes: for the demo, the benchmarks and the tests.

The same arguments give the same bytes on every machine. Nobody's data is in it: people are drawn from a fixed
fictional population, e-mail and network addresses lie in the ranges reserved for documentation.

Members are written in this order; `?` may be missing, `null` may be null. `route` is an extension.

`infobip/sms-report`
    bulkId?null  messageId  to  sender  sentAt  doneAt  messageCount  mccMnc null  callbackData?
    price{pricePerMessage currency}  status{groupId groupName id name description}
    error{groupId groupName id name description permanent}  campaignReferenceId?
    platform{entityId applicationId?}  route

`infobip/sms-inbound`
    messageId  from  to  text  cleanText  keyword?null  receivedAt  smsCount  price{pricePerMessage currency}
    callbackData null  applicationId?  entityId  campaignReferenceId?  route
    (entity and application are members of the record here, not of `platform`)

`infobip/voice-report`
    bulkId?null  messageId  from  to  sentAt  mccMnc null  callbackData?
    voiceCall{feature startTime answerTime null  endTime duration chargedDuration fileDuration answeredBy?
    callRecordingFileId? dtmfCodes?null
    ivr?null{scenarioId scenarioName collectedDtmfs collectedMappedDtmfs null
    spokenInput null  matchedSpokenInput null}}
    price{pricePerSecond currency}  status{…}  error{…}  campaignReferenceId?
    platform{entityId applicationId?}  route          (durations are seconds)

`infobip/email-report`
    bulkId?null  messageId  to  sender  text?  sentAt  doneAt  messageCount  attemptCount  timeToFirstAttempt
    callbackData?  price{pricePerMessage currency}  status{…}  error{…}  campaignReferenceId?
    platform{entityId applicationId?}  sendingIp  browserLink?  route
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final

from lethe.testing.traffic.calls import voice_reports
from lethe.testing.traffic.mail import email_reports
from lethe.testing.traffic.malformed import KINDS, damage
from lethe.testing.traffic.messages import sms_inbound, sms_reports
from lethe.testing.traffic.wheels import source
from lethe.testing.traffic.world import World, world

_BUILDERS: Final[Mapping[str, Callable[[World], Callable[[bool], str]]]] = {
    "infobip/sms-report": sms_reports,
    "infobip/sms-inbound": sms_inbound,
    "infobip/voice-report": voice_reports,
    "infobip/email-report": email_reports,
}
FORMATS: Final[tuple[str, ...]] = tuple(_BUILDERS)


def labelled(
    format_name: str,
    count: int,
    seed: int,
    *,
    until: datetime,
    pakistan: float = 0.1,
    malformed: float = 0.0,
    late: float = 0.0,
    months: int = 4,
    envelope: float = 0.0,
) -> Iterator[tuple[str, bytes]]:
    """Yield what `generate` does, each value with its label: `good`, `late`, `envelope` or one of `malformed.KINDS`."""
    if format_name not in _BUILDERS:
        raise ValueError(
            f"no traffic of format {format_name[:80]!r} can be made; there is {', '.join(FORMATS)}"
        )
    for share in (malformed, late, envelope):
        if not 0 <= share <= 1:
            raise ValueError("a share is between 0 and 1")
    build = _BUILDERS[format_name](world(format_name, seed, until=until, pakistan=pakistan, months=months))
    # A source of its own decides which values are special, so that shares do not change what people do.
    special = source("lethe traffic 1 special", format_name, seed)
    plain = malformed == late == envelope == 0
    for _ in range(count):
        if plain:
            yield "good", build(False).encode()
        elif special() < malformed:
            kind = KINDS[int(special() * len(KINDS))]
            yield kind, damage(kind, special, build(False), format_name)
        elif special() < envelope:
            inside = [build(special() < late) for _ in range(2 + int(special() * 4))]
            yield "envelope", f'{{"results":[{",".join(inside)}]}}'.encode()
        elif special() < late:
            yield "late", build(True).encode()
        else:
            yield "good", build(False).encode()


def generate(
    format_name: str,
    count: int,
    seed: int,
    *,
    until: datetime,
    pakistan: float = 0.1,
    malformed: float = 0.0,
    late: float = 0.0,
    months: int = 4,
    envelope: float = 0.0,
) -> Iterator[bytes]:
    """Yield `count` values of a format, one JSON record each unless a share says otherwise.

    Communications lie in the last `months` calendar months, the one of `until` included, and end before it.
    `pakistan` is the share of end users who live there. Shares of the values: `malformed` (a mix of the bad
    inputs of `lethe.testing.traffic.malformed`), `late` (of a month whose window has ended at `until`: 13 to 20
    months before), `envelope` (two to five records in one value, `{"results":[…]}`, late ones among them).
    Raises `ValueError` for an unknown format, a share outside 0 to 1, more than 12 months.
    """
    values = labelled(
        format_name,
        count,
        seed,
        until=until,
        pakistan=pakistan,
        malformed=malformed,
        late=late,
        months=months,
        envelope=envelope,
    )
    return (value for _, value in values)


def generate_mixed(
    count: int,
    seed: int,
    shares: Mapping[str, float],
    *,
    until: datetime,
    pakistan: float = 0.1,
    malformed: float = 0.0,
    late: float = 0.0,
    months: int = 4,
    envelope: float = 0.0,
) -> Iterator[tuple[str, bytes]]:
    """Yield `count` values of several formats, shuffled, as (format, value); `shares` weigh the formats."""
    total = sum(shares.values())
    if not shares or total <= 0 or min(shares.values()) < 0:
        raise ValueError("shares of formats are not negative and not all zero")
    runs = [
        (
            name,
            share / total,
            generate(
                name,
                count,
                seed,
                until=until,
                pakistan=pakistan,
                malformed=malformed,
                late=late,
                months=months,
                envelope=envelope,
            ),
        )
        for name, share in shares.items()
    ]
    draw = source("lethe traffic 1 mixed", seed)
    for _ in range(count):
        place = draw()
        chosen, values = runs[-1][0], runs[-1][2]
        for name, share, run in runs:
            if place < share:
                chosen, values = name, run
                break
            place -= share
        yield chosen, next(values)
