"""Write the answer to a person's request: a letter in plain words, as HTML and PDF, beside the data as JSON and CSV.

It says what is held and until when, why, where it comes from, who received it, who looked and when, what the law keeps,
and what was done. Other people stay masked, as in the export it is made from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

from lethe.operations.documents.blocks import Block, Heading, Listing, Table, Text, Ways, html, pdf
from lethe.operations.office._texts import language_of, texts
from lethe.operations.settings import Office
from lethe.schemas.errors import InputError
from lethe.tiers.rights.subject_export import CATEGORIES, LAW, NOT_TOLD, UNTIL_RELEASED

__all__ = ["KINDS", "Done", "Facts", "files", "language_of"]

KINDS: Final = ("access", "erasure", "restriction", "objection")
_ROWS: Final = 200
_LOOKS: Final = {
    CATEGORIES["lookup"]: "l_lookup",
    CATEGORIES["lookup.hold"]: "l_hold",
    CATEGORIES["reveal"]: "l_reveal",
    CATEGORIES["evidence"]: "l_evidence",
    CATEGORIES["quarantine.reveal"]: "l_quarantine",
    CATEGORIES["export"]: "l_export",
    CATEGORIES["erase.preview"]: "l_preview",
}
_LAWS: Final = {LAW["order"]: "law_order", LAW["claims"]: "law_claims"}
_CHATS: Final = frozenset({"chat", "line", "messenger", "telegram", "viber", "whatsapp"})


@dataclass(frozen=True, slots=True)
class Done:
    """What was done for the person. `erased` of None: nothing was erased, for want of a request or of data."""

    erased: date | None = None
    entries: int = 0
    certificate: int | None = None
    held: int = 0
    nothing: bool = False
    """An erasure found nothing of the person."""
    restricted: date | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What an answer is about. `about`: the addresses, as the person gave them; `words`: what the officer adds."""

    kind: str
    reference: str
    received: date
    about: Sequence[str] = field(repr=False)
    done: Done = Done()
    words: str = field(default="", repr=False)


class _Letter:
    """A letter in the making: texts and ways of one language."""

    def __init__(self, code: str) -> None:
        self.language = language_of(code)
        self.texts = texts(code)
        self.ways = Ways.of(self.language, lambda rest: self("more", count=rest), _ROWS)

    def __call__(self, key: str, **values: Any) -> str:
        """Write a text of the language, with its values in the ways of the language."""
        return self.texts[key].format(**{k: self.language.said(v) for k, v in values.items()})

    def known(self, prefix: str, name: Any) -> str:
        """Write a word of the records in the language; one there is no text for stays as it is."""
        return "" if name is None else self.texts.get(f"{prefix}_{name}", str(name))


def files(
    content: Mapping[str, Any] | None, facts: Facts, code: str, office: Office, now: datetime
) -> dict[str, bytes]:
    """Return the letter as files by name, `answer.html` and `answer.pdf`.

    `content`: the export of an access request. Raises `InputError` for a language that there is not.
    """
    letter = _Letter(code)
    if facts.kind not in KINDS:
        raise InputError(f"kind: one of {', '.join(KINDS)}")
    title, blocks = letter(f"title_{facts.kind}"), _blocks(letter, content, facts, office, now)
    return {
        "answer.html": html(title, blocks, letter.ways),
        "answer.pdf": pdf(title, blocks, now, letter.ways),
    }


def _blocks(
    say: _Letter, content: Mapping[str, Any] | None, facts: Facts, office: Office, now: datetime
) -> list[Block]:
    head: list[list[Any]] = [
        [say("reference"), facts.reference],
        [say("received"), facts.received],
        [say("answered"), say.language.date(now)],
        [say("about"), ", ".join(facts.about)],
    ]
    if office.controller:
        head.insert(0, [say("from"), office.controller])
    blocks: list[Block] = [Table([], head, facts=True), Text(say(f"intro_{facts.kind}"))]
    if facts.done.refused:
        blocks.append(Text(say("refused")))
    if facts.words:
        blocks += [Heading(say("h_words")), Text(facts.words)]
    blocks += _done(say, facts)
    if content is not None and not facts.done.refused:
        blocks += _held_data(say, content)
    blocks += [Heading(say("h_rights")), Text(say("rights"))]
    if office.contact:
        blocks.append(Text(say("contact", contact=office.contact)))
    if office.authority:
        blocks.append(Text(say("authority", authority=office.authority)))
    if content is not None and content["records"] and not facts.done.refused:
        blocks += _records(say, content["records"])
    return blocks


def _done(say: _Letter, facts: Facts) -> list[Block]:
    done, blocks = facts.done, list[Block]()
    if done.erased is not None:
        blocks.append(Text(say("erased", date=done.erased, count=done.entries)))
        if done.certificate is not None:
            blocks.append(Text(say("certificate", number=str(done.certificate))))
        blocks.append(Text(say("remains")))
    elif done.nothing:
        blocks.append(Text(say("erased_nothing")))
    if done.held:
        blocks.append(Text(say("held_erasure", count=done.held)))
    if done.restricted is not None:
        blocks += [Text(say("restricted", date=done.restricted)), Text(say("restricted_end"))]
    return [Heading(say("h_done")), *blocks] if blocks else []


def _held_data(say: _Letter, content: Mapping[str, Any]) -> list[Block]:
    records = content["records"]
    blocks: list[Block] = [Heading(say("h_what"))]
    if records:
        first, last, counted = _counted(records)
        blocks += [
            Text(say("what")),
            Text(
                say(
                    "count",
                    count=len(records),
                    first=say.language.date(first),
                    last=say.language.date(last),
                )
            ),
            _months(say, counted),
            Heading(say("h_long")),
            Text(say("long")),
        ]
    else:
        blocks.append(Text(say("nothing")))
    blocks += _others(say, content) + _held(say, content["held_by_law"])
    if records or content["rejected_records"] or content["held_by_law"]:
        blocks += [
            Heading(say("h_why")),
            Listing([say(name) for name in ("why_service", "why_fraud", "why_security", "why_law")]),
            Heading(say("h_from")),
            Text(say("from_text")),
            Listing(list(content["sources"])),
            *_recipients(say, content["recipients"]),
        ]
    return blocks + _looks(say, content["looked_at"])


def _counted(
    records: Iterable[Mapping[str, Any]],
) -> tuple[datetime, datetime, Counter[tuple[str, str, str]]]:
    """Return the first and the last time of records, and count them by month and the dates until which they are kept.

    One of them is held at a time: there may be more than memory holds. `ValueError` for none.
    """
    counted, times = Counter[tuple[str, str, str]](), list[datetime]()
    for r in records:
        counted[r["event_time"][:7], r["identifiers_kept_until"], r["metadata_kept_until"]] += 1
        time = datetime.fromisoformat(r["event_time"])
        times = [min(*times, time), max(*times, time)] if times else [time, time]
    return min(times), max(times), counted


def _months(say: _Letter, counted: Counter[tuple[str, str, str]]) -> Table:
    """Say how many records there are by month and by the dates until which they are kept."""
    rows = [
        [
            say.language.year_month(month),
            count,
            say.language.date(datetime.fromisoformat(ids)),
            say.language.date(datetime.fromisoformat(rest)),
        ]
        for (month, ids, rest), count in sorted(counted.items())
    ]
    return Table([say("c_month"), say("c_records"), say("c_ids_until"), say("c_meta_until")], rows)


def _others(say: _Letter, content: Mapping[str, Any]) -> list[Block]:
    found = [
        Text(say(text, count=len(content[part])))
        for text, part in (("rejected", "rejected_records"), ("mentioned", "mentioned_in"))
        if content[part]
    ]
    return [Heading(say("h_others")), *found] if found else []


def _held(say: _Letter, held: Sequence[Mapping[str, Any]]) -> list[Block]:
    if not held:
        return []
    head = ["c_records", "c_months", "c_law", "c_until", "c_authority", "c_reference"]
    rows = [
        [
            hold["records"],
            ", ".join(say.language.year_month(m) for m in hold["months"]),
            say(_LAWS[hold["law"]]),
            say("until_released")
            if hold["kept_until"] == UNTIL_RELEASED
            else say.language.date(datetime.fromisoformat(hold["kept_until"])),
            *(say("not_told") if hold[n] == NOT_TOLD else hold[n] for n in ("authority", "reference")),
        ]
        for hold in held
    ]
    return [Heading(say("h_held")), Text(say("held")), Table([say(name) for name in head], rows)]


def _recipients(say: _Letter, recipients: Sequence[Mapping[str, str]]) -> list[Block]:
    if not recipients:
        return [Heading(say("h_to")), Text(say("to_none"))]
    rows = [[say.known("r", r["kind"]), r["name"]] for r in recipients]
    return [Heading(say("h_to")), Text(say("to")), Table([say("c_kind"), say("c_name")], rows)]


def _looks(say: _Letter, looks: Sequence[Mapping[str, Any]]) -> list[Block]:
    """Say when somebody looked and what for; whose look it was only where the export says so."""
    if not looks:
        return [Heading(say("h_looked")), Text(say("looked_none"))]
    named = any("who" in look for look in looks)
    head = ["c_time", "c_look", *(("c_who", "c_case") if named else ())]
    rows = [
        [
            datetime.fromisoformat(look["time"]),
            say(_LOOKS.get(look["category"], "l_other")),
            *((look.get("who"), look.get("case")) if named else ()),
        ]
        for look in reversed(looks)
    ]
    count = Text(say("looked", count=len(looks)))
    return [Heading(say("h_looked")), count, Table([say(name) for name in head], rows)]


def _records(say: _Letter, records: Sequence[Mapping[str, Any]]) -> list[Block]:
    head = ("c_time", "c_channel", "c_direction", "c_status", "c_yours", "c_other", "c_country")
    rows = [
        [
            datetime.fromisoformat(r["event_time"]),
            _channel(say, r["metadata"]),
            say.known("d", r["metadata"].get("direction")),
            say.known("s", r["metadata"].get("status_group")),
            *(", ".join(dict.fromkeys(i["value"] for i in r[n])) for n in ("identifiers", "other_parties")),
            r["metadata"].get("country"),
        ]
        for r in records[:_ROWS]
    ]
    return [
        Heading(say("h_records")),
        Text(say("records")),
        Table([say(name) for name in head], rows, hidden=len(records) - len(rows)),
        Text(say("files")),
    ]


def _channel(say: _Letter, metadata: Mapping[str, Any]) -> str:
    channel = metadata.get("channel")
    if channel is None:
        return say("ch_usage") if metadata.get("data") == "usage" else ""
    return say("ch_chat") if channel in _CHATS else say.known("ch", channel)
