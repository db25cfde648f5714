"""An independent, slow reader of the made-up formats: it accepts good records and refuses all else."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

STATUS = {"groupId": "int", "groupName": "str", "id": "int", "name": "str", "description": "str"}
ERROR = {**STATUS, "permanent": "bool"}
PER_MESSAGE = {"pricePerMessage": "number", "currency": "str"}
PLATFORM = {"entityId": "str", "applicationId": "str?"}

# Type of each member; `?` may be missing, `~` may be null.
FIELDS: dict[str, dict[str, Any]] = {
    "infobip/sms-report": {
        "bulkId": "str?~",
        "messageId": "str",
        "to": "msisdn",
        "sender": "str",
        "sentAt": "time",
        "doneAt": "time",
        "messageCount": "int",
        "mccMnc": "str~",
        "callbackData": "str?",
        "price": PER_MESSAGE,
        "status": STATUS,
        "error": ERROR,
        "campaignReferenceId": "str?",
        "platform": PLATFORM,
        "route": "str",
    },
    "infobip/sms-inbound": {
        "messageId": "str",
        "from": "msisdn",
        "to": "str",
        "text": "str",
        "cleanText": "str",
        "keyword": "str?~",
        "receivedAt": "time",
        "smsCount": "int",
        "price": PER_MESSAGE,
        "callbackData": "str~",
        "applicationId": "str?",
        "entityId": "str",
        "campaignReferenceId": "str?",
        "route": "str",
    },
    "infobip/voice-report": {
        "bulkId": "str?~",
        "messageId": "str",
        "from": "msisdn",
        "to": "msisdn",
        "sentAt": "time",
        "mccMnc": "str~",
        "callbackData": "str?",
        "voiceCall": {
            "feature": "str",
            "startTime": "time",
            "answerTime": "time~",
            "endTime": "time",
            "duration": "int",
            "chargedDuration": "int",
            "fileDuration": "number",
            "answeredBy": "str?",
            "callRecordingFileId": "str?",
            "dtmfCodes": "str?~",
            "ivr": (
                "?~",
                {
                    "scenarioId": "str",
                    "scenarioName": "str",
                    "collectedDtmfs": "str",
                    "collectedMappedDtmfs": "str~",
                    "spokenInput": "str~",
                    "matchedSpokenInput": "str~",
                },
            ),
        },
        "price": {"pricePerSecond": "number", "currency": "str"},
        "status": STATUS,
        "error": ERROR,
        "campaignReferenceId": "str?",
        "platform": PLATFORM,
        "route": "str",
    },
    "infobip/email-report": {
        "bulkId": "str?~",
        "messageId": "str",
        "to": "email",
        "sender": "str",
        "text": "str?",
        "sentAt": "time",
        "doneAt": "time",
        "messageCount": "int",
        "attemptCount": "int",
        "timeToFirstAttempt": "int",
        "callbackData": "str?",
        "price": PER_MESSAGE,
        "status": STATUS,
        "error": ERROR,
        "campaignReferenceId": "str?",
        "platform": PLATFORM,
        "sendingIp": "str",
        "browserLink": "str?",
        "route": "str",
    },
}
EVENT_TIME = {f: "receivedAt" if f.endswith("inbound") else "sentAt" for f in FIELDS}
END_USER = {f: "from" if f.endswith("inbound") else "to" for f in FIELDS}
CURRENCIES = {"EUR", "USD", "GBP", "PKR", "AED", "TRY", "UNKNOWN"}
GROUPS = {"PENDING", "UNDELIVERABLE", "DELIVERED", "EXPIRED", "REJECTED"}
MAX_BYTES = 100_000


class RefusedError(ValueError):
    """The value is no good record; the message says why."""


def time_of(text: str) -> datetime:
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?(Z|[+-]\d{4})", text):
        raise RefusedError("time")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise RefusedError("time") from None


def read(format_name: str, value: bytes, now: datetime) -> dict[str, Any]:
    """The record in a value; raises `RefusedError` unless it is exactly one, with every member as listed."""

    def refuse_constant(_: str) -> float:
        raise RefusedError("number")

    if len(value) > MAX_BYTES:
        raise RefusedError("size")
    try:
        record = json.loads(value.decode(), parse_constant=refuse_constant)
    except RefusedError:
        raise
    except (ValueError, RecursionError) as error:
        raise RefusedError("json") from error
    if not isinstance(record, dict):
        raise RefusedError("no object")
    _check(record, FIELDS[format_name], now)
    return record


def members(value: bytes) -> list[bytes]:
    """The records of an envelope, each as a value of its own."""
    envelope = json.loads(value)
    assert list(envelope) == ["results"]
    return [json.dumps(record, ensure_ascii=False).encode() for record in envelope["results"]]


def _check(record: dict[str, Any], fields: dict[str, Any], now: datetime) -> None:
    if unknown := set(record) - set(fields):
        raise RefusedError(f"undeclared {sorted(unknown)}")
    for name, kind in fields.items():
        optional = ""
        if isinstance(kind, tuple):
            optional, kind = kind
        elif isinstance(kind, str):
            optional = kind.strip("abcdefghijklmnopqrstuvwxyz")
            kind = kind.rstrip("?~")
        if name not in record:
            if "?" not in optional:
                raise RefusedError(f"missing {name}")
        elif record[name] is None:
            if "~" not in optional:
                raise RefusedError(f"null {name}")
        elif isinstance(kind, dict):
            if not isinstance(record[name], dict):
                raise RefusedError(f"type of {name}")
            _check(record[name], kind, now)
        else:
            _check_scalar(name, record[name], kind, now)


def _check_scalar(name: str, value: Any, kind: str, now: datetime) -> None:
    types = {"int": int, "bool": bool, "number": (int, float)}
    if not isinstance(value, types.get(kind, str)) or (isinstance(value, bool) and kind != "bool"):  # type: ignore[arg-type]
        raise RefusedError(f"type of {name}")
    if kind == "number" and not math.isfinite(value):
        raise RefusedError("number")
    if kind == "time" and time_of(value) > now + timedelta(days=1):
        raise RefusedError("future")
    if kind == "msisdn" and not re.fullmatch(r"\+?[1-9]\d{7,14}", value):
        raise RefusedError(f"no number in {name}")
    if kind == "email" and not re.fullmatch(r"[a-z._]+\d+@([a-z]+\.)?example\.(com|org|net)", value.lower()):
        raise RefusedError(f"no address in {name}")
    if name == "currency" and value not in CURRENCIES:
        raise RefusedError("currency")
    if name == "groupName" and value not in GROUPS | {
        "OK",
        "HANDSET_ERRORS",
        "USER_ERRORS",
        "OPERATOR_ERRORS",
    }:
        raise RefusedError("enumeration")
