"""What each column of the tables that others read says: the table's own schema carries it, and the guide."""

from __future__ import annotations

from typing import Final

METADATA: Final[dict[str, str]] = {
    "stream": "topic (or file) the record came from; with partition, offset and index its name",
    "partition": "partition of the topic",
    "offset": "offset in the partition",
    "index": "position inside of an envelope; null outside of one",
    "event_time": "when the communication was, UTC",
    "done_time": "when it was over or last reported, UTC",
    "channel": "sms, voice, email, whatsapp, …",
    "direction": "inbound, outbound, internal or unknown, as seen by the platform",
    "account": "whom of the platform's customers it belongs to; ~… is a stand-in of the month",
    "application": "the customer's application",
    "sender": "sender id or number of a business; persons are not in the archive",
    "recipient": "short code or number of a business an inbound communication went to",
    "source_kind": "kind of address the sender has: msisdn, email, ip, sip, chat, opaque",
    "destination_kind": "kind of address the recipient has",
    "country": "ISO 3166 alpha-2 of the end user",
    "mcc": "mobile country code of the end user's network",
    "mnc": "mobile network code",
    "network": "network by name, where the platform names it",
    "route": "route the platform chose",
    "parts": "parts a text was sent in",
    "duration_ms": "how long a call was, in milliseconds",
    "status_group": "what became of it, in words common to all vendors",
    "status": "the vendor's own word for it",
    "error": "the vendor's error code",
    "permanent_error": "whether trying again is of no use",
    "price": "the vendor's figure, for what charge_basis says; sum charge instead",
    "currency": "ISO 4217, or UNKNOWN where the vendor wrote that",
    "price_unit": "message, second or minute, as the declaration names the vendor's figure",
    "redacted": "columns that were emptied because an identifier stood in them, comma-separated",
    "integrity_hash": "salted hash of the original, for rows in integrity scope",
    "original_form": "which bytes were hashed: received or canonical",
    "format": "declaration the record was read by",
    "format_version": "version of the declaration",
    "charge": "what the record costs in all, in currency; refunds are negative. What bills sum",
    "charge_basis": "what price is the price of: message, part, second, minute, call, megabyte, none",
    "charged_duration_ms": "what the vendor charges of a call, in milliseconds",
    "late": "true: the month's window had ended, no identifier was kept",
    "ingested_at": "minute (UTC) in which the commit that brought the row began",
    "countries": "all countries of the record, comma-separated, where country is not the only one",
    "retention_rule": "rules of countries that gave the record other periods than the default",
    "month": "month of event_time, UTC",
}
ADJUSTMENTS: Final[dict[str, str]] = {
    "stream": "with partition, offset, index and month: the name of a row of metadata",
    "partition": "partition of the topic",
    "offset": "offset in the partition",
    "index": "position inside of an envelope; null outside of one",
    "reason": "superseded: another report of the message counts; repeated: the same report came again",
    "found_time": "when it was found",
    "month": "month of the row, UTC",
}
DESCRIBED: Final = {"metadata": METADATA, "adjustments": ADJUSTMENTS}
