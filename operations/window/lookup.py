"""Look up every communication of a person or message: in the window, or in what a hold has preserved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from lethe.operations.asker import Asker, record, record_each
from lethe.operations.runtime import Runtime
from lethe.operations.window.communications import MOST_VALUES, Communications
from lethe.operations.window.identify import Person, identify
from lethe.operations.window.visibility import Hidden, hidden_people, hidden_tokens, hides_held, is_hidden
from lethe.schemas.arrow import METADATA
from lethe.schemas.declaration.vocabulary import DESTINATIONS, SOURCES
from lethe.schemas.errors import InputError
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.window import lookup as window
from lethe.tiers.window.usage import usage_of

__all__ = [
    "MOST_VALUES",
    "Communications",
    "lookup",
    "lookup_each",
    "lookup_held",
    "newest_first",
    "paired",
    "reveal_each",
]


def lookup(
    runtime: Runtime,
    asker: Asker,
    text: str,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Communications:
    """Find the communications of whom a text names, within `since` <= time < `until`.

    1. Find the rows that carry one of the person's tokens, and join them with the archive.
    2. Write the audit entry: it holds tokens of the audit's own, of whom was asked for and whose records are shown.
    3. Answer.
    """
    return lookup_each(runtime, asker, [text], since, until)[0]


def lookup_each(
    runtime: Runtime,
    asker: Asker,
    texts: Sequence[str],
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Communications]:
    """Look up several values in one reading, in the steps of `lookup`: one audit entry each, all before any answer.

    Raises `InputError` for more than can be asked at once, or for a text that is no value.
    """
    return _each(runtime, asker, "lookup", texts, since, until, window.masked, {})


def reveal_each(
    runtime: Runtime,
    asker: Asker,
    texts: Sequence[str],
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Communications]:
    """Look up several values as `lookup_each` does, with the other parties in clear: a reveal of all at once.

    Each audit entry, `reveal`, is about those who are shown, too. Raises `LetheError` for more records than the grant
    of the asker has rows for.
    """
    told: dict[str, Subject] = {}

    def clear(subject: Subject) -> str:
        text = f"+{subject.value}" if subject.kind == "msisdn" else subject.value
        told[text] = subject
        return text

    return _each(runtime, asker, "reveal", texts, since, until, clear, told)


def newest_first(answers: Iterable[Communications]) -> list[dict[str, Any]]:
    """Return the records of the answers to several values, newest first, each with the number of its `value` from 1."""
    records = [{**record, "value": n} for n, one in enumerate(answers, 1) for record in one.records]
    return sorted(records, key=lambda record: record["event_time"], reverse=True)


def _each(
    runtime: Runtime, asker: Asker, action: str, texts: Sequence[str], since: datetime | None,
    until: datetime | None, name: Callable[[Subject], str], clear: Mapping[str, Subject],
) -> list[Communications]:  # fmt: skip
    """Look up several values; `name` writes the other parties, `clear` holds those that it wrote in clear."""
    with runtime.traces.span("lethe.lookup") as span:
        asker.needs_reason()
        if not 0 < len(texts) <= MOST_VALUES:
            raise InputError(f"1 to {MOST_VALUES} values can be looked up at once")
        people = [asked_for(runtime, text, since, until) for text in texts]
        queries = [query for _, query in people]
        # Step 1
        with runtime.warehouse.opening(("identifiers", "metadata", "usage")):
            asked = window.tokens_of_each(queries, runtime.ring, runtime.clock())
        found = window.find_each(runtime.warehouse, asked, queries)
        hidden = hidden_tokens(runtime, asker)
        shown = [[r for r in rows if not is_hidden(r, hidden)] for rows in found]
        once = {id(row): row for rows in shown for row in rows}
        answers = {id(row): told for row, told in paired(runtime, list(once.values()), hidden, name)}
        told: list[Communications] = []
        entries: list[dict[str, Any]] = []
        for (person, query), tokens, rows, seen in zip(people, asked, found, shown, strict=True):
            answer = _together([(row, answers[id(row)]) for row in seen if id(row) in answers])
            restricted = len(seen) < len(rows)
            entries.append({
                "about": (
                    *query.subjects, *_shown_beside(runtime, tokens, seen),
                    *{clear[other] for a in answer if (other := a["counterpart"]) in clear},
                ),
                "messages": _messages(query),
                "since": since, "until": until, "law": asker.law, "count": len(answer), "restricted": restricted,
                "missing": sorted(tokens.missing),
            })  # fmt: skip
            told.append(Communications(answer, restricted, tokens.missing, not rows and person.unread_number))
        # Step 2
        record_each(runtime, asker, action, entries)
        asker.takes(sum(len(one.records) for one in told))
        span.count(
            values=len(texts), records=sum(len(one.records) for one in told),
            restricted=any(one.restricted for one in told),
            missing_months=len({month for tokens in asked for month in tokens.missing}),
        )  # fmt: skip
        # Step 3
        return told


def lookup_held(
    runtime: Runtime,
    asker: Asker,
    text: str,
    reference: str,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Communications:
    """Find what a hold has preserved of whom a text names; raises `LetheError` when no such hold is in force.

    An account that the hold covers lists all of its records, those that the window still holds too. The steps are
    those of `lookup`.
    """
    from lethe.tiers.holds import produce  # few look-ups ask for a hold
    from lethe.tiers.holds.holds import Holds
    from lethe.tiers.holds.scope import Scope, held_roles

    asker.needs_reason()
    person, query = asked_for(runtime, text, since, until)
    holds = Holds(runtime.objects, runtime.ring)
    hold = holds.find(reference)
    hidden = hidden_people(runtime, asker)
    account = person.text if person.text in hold.scope.accounts else None
    if account is None:
        kept = holds.records(hold)
    else:
        only = Scope(accounts=(account,), since=hold.scope.since, until=hold.scope.until)
        kept = produce.records(runtime.warehouse, holds, runtime.ring, hold, only, runtime.clock())
    found = [(r, roles) for r in kept if (roles := held_roles(r, query, account))]
    shown = [(r, roles) for r, roles in found if not hides_held(r, query, hidden)]
    answer = [
        {"hold": hold.reference, "record": r["record"], **(r["metadata"] or {}), "roles": roles}
        for r, roles in shown
    ]
    answer.sort(key=lambda a: str(a.get("event_time")), reverse=True)
    restricted = len(answer) < len(found)
    told = {Subject(i["kind"], i["value"]) for r, _ in shown for i in r["identifiers"]} if account else set()
    record(
        runtime, asker, "lookup.hold", about=(*query.subjects, *told), messages=_messages(query), hold=hold.id,
        reference=hold.reference, since=since, until=until, law=asker.law, count=len(answer), restricted=restricted,
    )  # fmt: skip
    return Communications(answer, restricted)


def asked_for(
    runtime: Runtime, text: str, since: datetime | None, until: datetime | None
) -> tuple[Person, window.Query]:
    """Read whom a text names and what to look for; raises `InputError` for a period that ends before it begins."""
    if since is not None and until is not None and until <= since:
        raise InputError("the period ends before it begins: --until must be later than --since")
    person = identify(text, runtime.settings.line_countries)
    # What is typed as an international number is no message id; to look for one costs as much again.
    message = None if person.text.startswith("+") and person.candidates else person.text
    return person, window.Query(person.candidates, message, since, until)


def _together(found: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[dict[str, Any]]:
    """Give answers the name of the communication they tell of: its first record. Reports and legs of one share it."""
    wholes = [
        (row["month"], row["window_months"], row["message_token"] or answer["record"])
        for row, answer in found
    ]
    first: dict[Any, tuple[Any, str]] = {}
    for whole, (_, answer) in zip(wholes, found, strict=True):
        at = answer["event_time"], answer["record"]
        first[whole] = min(first.get(whole, at), at)
    return [
        {"communication": first[whole][1], **answer} for whole, (_, answer) in zip(wholes, found, strict=True)
    ]


def _messages(query: window.Query) -> tuple[str, ...]:
    return () if query.message_id is None else (query.message_id,)


def _shown_beside(runtime: Runtime, asked: window.Asked, rows: list[dict[str, Any]]) -> set[Subject]:
    """Return the people whose rows are shown although nobody asked for them: those of a message that was asked for."""
    others: dict[tuple[Any, Any, bytes], dict[str, Any]] = {}
    for row in rows:
        tokens, _ = asked.tokens[Month.parse(row["month"]), row["window_months"]]
        if row["token"] is not None and row["token"] not in tokens:
            others[row["month"], row["window_months"], row["token"]] = row
    return {s for row in others.values() if (s := window.value_of(row, runtime.ring)) is not None}


def paired(
    runtime: Runtime, rows: list[dict[str, Any]], hidden: Hidden, name: Callable[[Subject], str]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Join identifier rows with their archive rows and the other party, not shown if restricted: (row, answer) each.

    `name` says how a person is written. Usage data has no archive row and no other party: what was done is joined.
    """
    used = usage_of(runtime.warehouse, runtime.ring, rows)
    placed = [(window.position_of(row), row) for row in rows]
    archive = window.metadata_of(runtime.warehouse, [row for position, row in placed if position not in used])
    others: dict[Position, list[dict[str, Any]]] = {}
    # Where the archive names a business as the other party, no other person is looked for: that costs the most.
    between = [
        row
        for position, row in placed
        if (metadata := archive.get(position)) and _business(row, metadata) is None
    ]
    for row in window.others_of(runtime.warehouse, between):
        others.setdefault(window.position_of(row), []).append(row)
    answers = []
    for position, row in placed:
        if (done := used.get(position)) is not None:
            answers.append((row, _usage(row, done)))
            continue
        metadata = archive.get(position)
        if metadata is None:
            continue  # half of a commit that has not happened (yet): it does not count
        answer = {
            "record": str(position),
            "event_time": row["event_time"],
            "role": row["role"],
            "kind": row["kind"],
            "counterpart": _counterpart(runtime, row, metadata, others.get(position, []), hidden, name),
            **metadata,
        }
        answer["integrity_hash"] = answer.pop("integrity_hash")  # which comes last
        answers.append((row, answer))
    return answers


def _usage(row: dict[str, Any], done: dict[str, Any]) -> dict[str, Any]:
    """Return a record of usage data with the columns that a communication has; `channel` and others are empty."""
    nothing = {name: None for name in METADATA.names if name not in ("event_time", "integrity_hash")}
    return {
        "record": str(window.position_of(row)),
        "event_time": row["event_time"],
        "role": row["role"],
        "kind": row["kind"],
        "counterpart": None,
        **nothing,
        "integrity_hash": None,
        **{name: value for name, value in done.items() if name != "event_time"},
    }


def _counterpart(
    runtime: Runtime,
    row: dict[str, Any],
    metadata: dict[str, Any],
    others: list[dict[str, Any]],
    hidden: Hidden,
    name: Callable[[Subject], str],
) -> str | None:
    """Name the other party: a business as it is, a person as `name` says."""
    if (business := _business(row, metadata)) is not None:
        return business
    facing = _facing(row["role"])
    parties = [
        other
        for other in others
        if other["token"] is not None
        and (other["role"], other["token"]) != (row["role"], row["token"])
        # Beside the two ends a record names the same person again (asserted, dialled) and where somebody was.
        and (other["role"] in facing or (other["token"] != row["token"] and other["kind"] != "ip"))
    ]
    other = min(parties, key=lambda o: (o["role"] not in facing, o["role"]), default=None)
    if other is None:
        return None
    if is_hidden(other, hidden):
        return "restricted"
    subject = window.value_of(other, runtime.ring)
    return None if subject is None else name(subject)


def _business(row: dict[str, Any], metadata: dict[str, Any]) -> str | None:
    """Return the business at the other end of a record, as the archive names it."""
    facing = _facing(row["role"])
    named: str | None = metadata["recipient"] if DESTINATIONS & facing else None
    return metadata["sender"] if named is None and SOURCES & facing else named


@cache
def _facing(role: str) -> frozenset[str]:
    """Return the roles at the other end of a communication; of a role that is at neither end those of both."""
    return DESTINATIONS if role in SOURCES else SOURCES if role in DESTINATIONS else SOURCES | DESTINATIONS
