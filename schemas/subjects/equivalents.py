"""One person, all spellings: what has to be asked for to find everybody that an address names."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final

from lethe.schemas.subjects.addresses import Reading, Subject, cleaned, normalise, read
from lethe.schemas.subjects.numbers import (
    bare_digits,
    dialled,
    is_named_extension,
    national_spellings,
    other_spellings,
)

_BARE: Final = re.compile(r"[0-9]{3,18}")


def equivalents(subject: Subject, country: str | None = None) -> tuple[Subject, ...]:
    """Return a subject in its stored spelling and every other one it may be stored under, the former first.

    `country` (ISO 3166 alpha-2) is that of the lines on which numbers are dialled: with it a national number and its
    international spelling are one. Without it neither finds the other: the same digits are somebody else's elsewhere.
    """
    found = [subject]
    if subject.kind == "opaque" and _BARE.fullmatch(subject.value):
        number = dialled(subject.value, country) if country is not None else None
        if number is not None:
            found = [Subject("msisdn", number), subject]
    for one in [s for s in found if s.kind == "msisdn"]:
        found += [Subject("msisdn", value) for value in other_spellings(one.value)]
        if country is not None:
            found += [Subject("opaque", value) for value in national_spellings(one.value, country)]
    if subject.kind in ("email", "sip") and "@" in subject.value:
        # `user@host` is how an address of either kind is typed.
        found.append(Subject("sip" if subject.kind == "email" else "email", subject.value))
        local, _, host = subject.value.partition("@")
        if subject.kind == "sip" and ":" not in host:  # until version 2 a port was kept
            found += [Subject("sip", f"{subject.value}:{port}") for port in (5060, 5061)]
        if subject.kind == "email" and "xn--" in host:  # stored as they were written until version 2
            with suppress(UnicodeError):
                found.append(Subject("opaque", f"{local}@{host.encode('ascii').decode('idna')}"))
    return tuple(dict.fromkeys(found))


def typed(
    text: str, kind: str = "auto", channel: str | None = None, country: str | None = None
) -> tuple[Subject, ...]:
    """Return everybody that a person may mean who types an address: see `equivalents`; () for nobody.

    Bare digits that are no number of any country mean whoever is stored under these digits alone.
    """
    subject = normalise(text, kind, channel)
    if subject is None:
        return ()
    found: tuple[Subject, ...] = ()
    if kind in ("auto", "msisdn"):  # as a line of the country reads it
        on_line = read(text, Reading(kind, True, country))
        if on_line is not None and on_line.kind == "msisdn":
            found = equivalents(on_line, country)
        elif digits := bare_digits(cleaned(text)):
            found = (Subject("opaque", digits),)
        elif is_named_extension(cleaned(text)):
            found = (Subject("opaque", cleaned(text)),)
    return tuple(dict.fromkeys((*equivalents(subject, country), *found)))
