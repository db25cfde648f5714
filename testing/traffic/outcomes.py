"""How communications end: statuses and errors from the vendor's own enumerations, realistically weighted."""

from __future__ import annotations

from typing import Final, NamedTuple

from lethe.testing.traffic.wheels import wheel


class Status(NamedTuple):
    """A `status` member: group and status, each with the vendor's number and name."""

    group_id: int
    group: str
    id: int
    name: str
    description: str


class Fault(NamedTuple):
    """An `error` member."""

    group_id: int
    group: str
    id: int
    name: str
    description: str
    permanent: bool


class Outcome(NamedTuple):
    """`members` is the rendered `status` and `error`; `delay` the typical time to it in milliseconds."""

    members: str
    charged: bool
    answered_by: str  # HUMAN or MACHINE; empty for no one, and for what is no call
    delay: int


_HANDSET = Status(3, "DELIVERED", 5, "DELIVERED_TO_HANDSET", "Message delivered to handset")
_OPERATOR = Status(3, "DELIVERED", 2, "DELIVERED_TO_OPERATOR", "Message delivered to operator")
_ENROUTE = Status(1, "PENDING", 7, "PENDING_ENROUTE", "Message sent to next instance")
_WAITING = Status(1, "PENDING", 3, "PENDING_WAITING_DELIVERY", "Message sent, waiting for delivery report")
_LOST = Status(2, "UNDELIVERABLE", 9, "UNDELIVERABLE_NOT_DELIVERED", "Message sent not delivered")
_REFUSED = Status(2, "UNDELIVERABLE", 4, "UNDELIVERABLE_REJECTED_OPERATOR", "Message rejected by operator")
_EXPIRED = Status(4, "EXPIRED", 15, "EXPIRED_EXPIRED", "Message expired")
_UNKNOWN_DLR = Status(4, "EXPIRED", 29, "EXPIRED_DLR_UNKNOWN", "Message expired with unknown delivery report")
_PREFIX = Status(5, "REJECTED", 8, "REJECTED_PREFIX_MISSING", "Number prefix missing")
_NO_ROUTE = Status(5, "REJECTED", 6, "REJECTED_NETWORK", "Network is forbidden")
_CREDITS = Status(5, "REJECTED", 12, "REJECTED_NOT_ENOUGH_CREDITS", "Not enough credits")
_DESTINATION = Status(5, "REJECTED", 14, "REJECTED_DESTINATION", "By destination")

_NONE = Fault(0, "OK", 0, "NO_ERROR", "No Error", False)
_ABSENT = Fault(1, "HANDSET_ERRORS", 27, "EC_ABSENT_SUBSCRIBER", "Absent Subscriber", False)
_ABSENT_SM = Fault(1, "HANDSET_ERRORS", 6, "EC_ABSENT_SUBSCRIBER_SM", "Absent Subscriber", False)
_UNKNOWN = Fault(1, "HANDSET_ERRORS", 1, "EC_UNKNOWN_SUBSCRIBER", "Unknown Subscriber", True)
_BARRED = Fault(1, "HANDSET_ERRORS", 13, "EC_CALL_BARRED", "Call Barred", True)
_FULL = Fault(1, "HANDSET_ERRORS", 256, "EC_SM_DF_MEMORYCAPACITYEXCEEDED", "Memory capacity exceeded", False)
_SYSTEM = Fault(3, "OPERATOR_ERRORS", 34, "EC_SYSTEM_FAILURE", "System Failure", False)
_TIMEOUT = Fault(3, "OPERATOR_ERRORS", 500, "EC_PROVIDER_GENERAL_ERROR", "Provider general error", False)

_ANSWERED = Fault(0, "OK", 5000, "VOICE_ANSWERED", "Call answered by human", True)
_MACHINE = Fault(0, "OK", 5001, "VOICE_ANSWERED_MACHINE", "Call answered by machine", True)
_HANGUP = Fault(
    0,
    "OK",
    10000,
    "NORMAL_HANGUP",
    "The call has ended with hangup initiated by caller, callee or API",
    False,
)
_BUSY = Fault(2, "USER_ERRORS", 5002, "EC_VOICE_USER_BUSY", "User was busy during call attempt", True)
_SILENT = Fault(
    2, "USER_ERRORS", 5003, "EC_VOICE_NO_ANSWER", "User was notified, but did not answer call", True
)
_NO_NUMBER = Fault(
    2, "USER_ERRORS", 5480, "EC_VOICE_TEMPORARILY_UNAVAILABLE", "Callee is temporarily unavailable", False
)

_SENT = Status(1, "PENDING", 7, "PENDING_ENROUTE", "Message sent to next instance")
_BOUNCE = Fault(1, "USER_ERRORS", 6001, "EC_EMAIL_BLACKLISTED", "Email blacklisted", True)
_MAILBOX = Fault(1, "USER_ERRORS", 6002, "EC_INVALID_EMAIL_ADDRESS", "Invalid email address", True)
_SUPPRESSED = Fault(
    1, "USER_ERRORS", 6034, "EC_SUPPRESSED_BOUNCE", "Recipient suppressed after an earlier bounce", True
)
_DEFERRED = Fault(1, "USER_ERRORS", 6006, "EC_TEMPORARY_SENDING_ERROR", "Temporary sending error", False)

Table = tuple[tuple[Status, Fault, int, int], ...]  # status, error, delay in ms, weight

SMS_TABLE: Final[Table] = (
    (_HANDSET, _NONE, 3_000, 8_480),
    (_OPERATOR, _NONE, 800, 520),
    (_ENROUTE, _NONE, 400, 70),
    (_WAITING, _NONE, 900, 60),
    (_LOST, _ABSENT, 90_000, 210),
    (_LOST, _UNKNOWN, 4_000, 150),
    (_LOST, _ABSENT_SM, 60_000, 90),
    (_LOST, _SYSTEM, 30_000, 60),
    (_REFUSED, _BARRED, 5_000, 70),
    (_EXPIRED, _ABSENT, 172_800_000, 110),
    (_EXPIRED, _FULL, 172_800_000, 30),
    (_UNKNOWN_DLR, _TIMEOUT, 172_800_000, 40),
    (_NO_ROUTE, _NONE, 60, 40),
    (_DESTINATION, _NONE, 60, 30),
    (_CREDITS, _NONE, 40, 30),
    (_PREFIX, _NONE, 40, 10),
)
VOICE_TABLE: Final[Table] = (
    (_HANDSET, _ANSWERED, 9_000, 5_000),
    (_HANDSET, _HANGUP, 9_000, 1_500),
    (_HANDSET, _MACHINE, 14_000, 700),
    (_LOST, _SILENT, 35_000, 1_500),
    (_LOST, _BUSY, 6_000, 800),
    (_LOST, _NO_NUMBER, 5_000, 350),
    (_EXPIRED, _SILENT, 3_600_000, 100),
    (_NO_ROUTE, _NONE, 60, 50),
)
EMAIL_TABLE: Final[Table] = (
    (_HANDSET, _NONE, 2_500, 9_300),
    (_SENT, _NONE, 700, 150),
    (_LOST, _MAILBOX, 3_000, 180),
    (_LOST, _BOUNCE, 300, 90),
    (_LOST, _SUPPRESSED, 200, 130),
    (_LOST, _DEFERRED, 600_000, 100),
    (_EXPIRED, _DEFERRED, 86_400_000, 30),
    (_CREDITS, _NONE, 40, 20),
)
_ANSWERED_BY: Final = {_ANSWERED: "HUMAN", _HANGUP: "HUMAN", _MACHINE: "MACHINE"}
_CHARGED: Final = ("DELIVERED", "PENDING", "EXPIRED", "UNDELIVERABLE")


def _render(status: Status, fault: Fault) -> str:
    return (
        f'"status":{{"groupId":{status.group_id},"groupName":"{status.group}","id":{status.id},'
        f'"name":"{status.name}","description":"{status.description}"}},'
        f'"error":{{"groupId":{fault.group_id},"groupName":"{fault.group}","id":{fault.id},'
        f'"name":"{fault.name}","description":"{fault.description}",'
        f'"permanent":{"true" if fault.permanent else "false"}}}'
    )


def outcomes(table: Table) -> tuple[Outcome, ...]:
    """Return a wheel (of 1,024) of the outcomes in a table."""
    return wheel(
        [
            (
                Outcome(
                    _render(status, fault),
                    status.group in _CHARGED,
                    _ANSWERED_BY.get(fault, ""),
                    delay,
                ),
                weight,
            )
            for status, fault, delay, weight in table
        ]
    )
