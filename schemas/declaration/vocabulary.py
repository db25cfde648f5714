"""The words a column may hold: enumerations and the patterns that bind codes.

Free text is never metadata. A code is bound by a pattern narrow enough that no usual spelling of a phone number, an
e-mail address, an IP address or a SIP URI passes it, unless the column is there for a business's own address.
"""

from __future__ import annotations

from typing import Final, Literal

KINDS: Final = frozenset({"msisdn", "email", "ip", "sip", "chat", "opaque"})
SOURCES: Final = frozenset({"sender", "caller", "source"})
DESTINATIONS: Final = frozenset({"recipient", "callee", "destination"})
"""Which roles are at which end of a communication; others are at neither."""
OTHER_END: Final = {"sender": "recipient", "recipient": "sender"}
"""By the archive's column for the business at one end the column of the other end."""
CHANNELS: Final = frozenset(
    "sms mms voice email whatsapp viber rcs telegram messenger instagram line chat".split()
)
DIRECTIONS: Final = frozenset({"inbound", "outbound", "internal", "unknown"})
ChargeBasis = Literal["message", "part", "second", "minute", "call", "megabyte", "none"]
PRICE_UNITS: Final = frozenset({"message", "second", "minute"})
STATUS_GROUPS: Final = frozenset(
    "ACCEPTED PENDING UNDELIVERABLE DELIVERED EXPIRED REJECTED RECEIVED SEEN OPENED CLICKED UNSUBSCRIBED COMPLAINED "
    "ANSWERED BUSY NO_ANSWER FAILED CANCELED IN_PROGRESS UNKNOWN".split()
)

# ISO 4217 codes in use, and the word one vendor writes when it knows none.
CURRENCIES: Final = frozenset(
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF "
    "CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG "
    "HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA "
    "MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD "
    "RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX "
    "USD UYU UZS VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG UNKNOWN".split()
)

# A code in a column that must not name a person starts with a letter and holds at most eight digits, four in a row.
# `sid`, `key`, `account_number` and `vendor_id` are for ids that the vendor gives out and no client can set.
CODE_PATTERNS: Final[dict[str, str]] = {
    "name": r"[A-Za-z][A-Za-z_.-]*(?:[0-9]{1,4}[A-Za-z_.-]*){0,2}",
    "constant": r"[A-Z][A-Z_]*(?:[0-9]{1,4}[A-Z_]*){0,2}",
    "number": r"-?[0-9]{1,6}",
    "digits": r"[0-9]{1,8}",
    "action": r"[A-Za-z][A-Za-z_]*(?:[.:/-][A-Za-z_]+){0,5}",
    "mcc": r"[0-9]{3}",
    "mnc": r"[0-9]{2,3}",
    "sid": r"[A-Z]{2}[0-9a-f]{32}",
    "key": r"[0-9a-z]{8}",
    "account_number": r"[0-9]{12}",
    "vendor_id": r"[0-9]{10,20}",
    "enhanced": r"[245]\.[0-9]{1,3}\.[0-9]{1,3}",  # status of a mail server, RFC 3463
}
CODE_MAX_LENGTH: Final = 64
CODES: Final = frozenset(
    {"account", "application", "sender", "recipient", "route", "network", "status", "error"}
)
"""Columns that never end empty for what stands there: what may not be shown gets a stand-in of the month."""
MADE_KEY: Final = r"[0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"
"""Keys that a machine made."""
PLATFORM_ID: Final = rf"[0-9]{{16,20}}|[A-Z]{{1,2}}[0-9a-f]{{32}}|{MADE_KEY}"
"""What a platform calls an account of a business (Instagram, Messenger, LINE, Apple): no number has so many digits."""
KEY_SHAPE: Final = (
    f"{CODE_PATTERNS['name']}|{CODE_PATTERNS['number']}|{MADE_KEY}"
    r"|[0-9]{1,8}|[0-9]{1,4}[A-Za-z_.-]+(?:[0-9]{1,4}[A-Za-z_.-]*){0,2}|[A-Za-z][A-Za-z_.-]*[0-9]{5,8}(?:-[A-Za-z]+[0-9]{0,2})?"
)
"""What passes in any of those columns whatever its pattern; in the accounts of a PBX (`digits`) digits alone do."""
LONG_DIGITS: Final = frozenset({"sid", "account_number", "vendor_id"})
"""Patterns whose codes may hold a run of digits as long as an IMSI or a phone number."""


def is_zone(name: str) -> bool:
    """Tell whether a text is the IANA name of a time zone."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # asked of few, and no small import

    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
