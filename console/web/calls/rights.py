"""The rights of a person: preview and erasure, a copy, restriction. What weighs waits for a second person."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Annotated

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response, StreamingResponse

from lethe.console.web.calls._shared import OF_WEIGHT, REFUSALS, Asked, Text, by, plain, told
from lethe.console.web.security import Here
from lethe.console.web.service import Service
from lethe.operations.access.gate import Wish
from lethe.operations.access.grants import Action
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import SignedIn
from lethe.operations.documents.packed import Content, parts_of
from lethe.operations.office import answer
from lethe.operations.rights import erase, export, restrict

router = APIRouter(prefix="/api")
Eraser = Annotated[SignedIn, by(Permission.ERASE)]
Exporter = Annotated[SignedIn, by(Permission.EXPORT)]
Restricter = Annotated[SignedIn, by(Permission.RESTRICT)]


class People(Asked):
    """Who is meant, in any usual spelling."""

    texts: list[Text] = Field(min_length=1, max_length=1_000)


class Copy(Asked):
    """Of whom a copy is made; with `names` it tells whose each look was."""

    text: Text
    names: bool = False


class CopyWithLetter(Copy):
    """A copy with a letter: `answer` is its language, such as `th`."""

    answer: str = Field(min_length=2, max_length=10)


class CopyFiles(BaseModel):
    """The files of a copy, by name, in base64."""

    records: int
    held: int
    files: dict[str, str]


class Restrict(Asked):
    """Whose records are to be restricted, or shown again."""

    text: Text


@router.post("/erasures/preview", response_model=erase.Erasure, responses=REFUSALS)
def preview(service: Here, who: Eraser, asked: People) -> Response:
    """Say what an erasure would take away: counts, and the holds in its way. Changes nothing."""
    passed = service.enter(who.person, asked.case, Wish(Action.LOOKUP, asked.texts, asked.purpose))
    return told(erase.preview_all(service.runtime, passed.asker, asked.texts))


@router.post("/erasures", response_model=erase.Erasure, responses=OF_WEIGHT)
def erasure(service: Here, who: Eraser, asked: People) -> Response:
    """Erase people from the window, once a second person has approved exactly these."""
    passed = service.enter(who.person, asked.case, Wish(Action.ERASE, asked.texts, asked.purpose))
    return told(erase.erase_all(service.runtime, passed.asker, asked.texts))


@router.post("/exports", response_model=export.Export, responses=OF_WEIGHT)
def copy(service: Here, who: Exporter, asked: Copy) -> Response:
    """Copy what the window holds of a person, once a second person has approved it."""
    made = _copied(service, who, asked)[1]
    return StreamingResponse(_told(made), media_type="application/json")


@router.post("/exports/files", response_model=CopyFiles, responses=OF_WEIGHT)
def copy_files(service: Here, who: Exporter, asked: CopyWithLetter) -> Response:
    """Copy what the window holds of a person as files, a letter in their language among them; approved as a copy is."""
    answer.language_of(asked.answer)
    case, made = _copied(service, who, asked)
    runtime, now = service.runtime, service.runtime.clock()
    facts = answer.Facts("access", case, now.date(), [asked.text])
    letter = answer.files(made.content, facts, asked.answer, runtime.settings.office, now)
    files: dict[str, Content] = {**made.parts(), **letter}
    return StreamingResponse(_as_text(made, files), media_type="application/json")


@router.post("/restrictions", response_model=restrict.Restriction, responses=REFUSALS)
def restriction(service: Here, who: Restricter, asked: Restrict) -> Response:
    """Keep a person's records from being shown."""
    passed = service.enter(who.person, asked.case, Wish(Action.RESTRICT, [asked.text], asked.purpose))
    return told(restrict.restrict(service.runtime, passed.asker, asked.text))


@router.post("/restrictions/lift", response_model=restrict.Restriction, responses=REFUSALS)
def lift(service: Here, who: Restricter, asked: Restrict) -> Response:
    """Show a person's records again."""
    passed = service.enter(who.person, asked.case, Wish(Action.RESTRICT, [asked.text], asked.purpose))
    return told(restrict.lift(service.runtime, passed.asker, asked.text))


def _told(made: export.Export) -> Iterator[bytes]:
    """Write a copy as `told` does, a record at a time: there may be more than memory holds."""
    before = b'{"content":{'
    for name, value in made.content.items():
        yield before + orjson.dumps(name) + b":"
        before = b","
        if name != "records" or not value:
            yield orjson.dumps(value, default=plain)
            continue
        between = b"["
        for record in value:
            yield between + orjson.dumps(record, default=plain)
            between = b","
        yield b"]"
    yield b"}}"


def _as_text(made: export.Export, files: Mapping[str, Content]) -> Iterator[bytes]:
    """Write `CopyFiles` as JSON, part by part."""
    yield b'{"records":%d,"held":%d,"files":' % (made.records, made.held)
    before = b"{"
    for name, data in files.items():
        yield before + orjson.dumps(name) + b':"'
        before = b","
        left = b""
        for part in parts_of(data):
            left += part
            whole = len(left) - len(left) % 3
            yield b64encode(left[:whole])
            left = left[whole:]
        yield b64encode(left) + b'"'
    yield b"}}"


def _copied(service: Service, who: SignedIn, asked: Copy) -> tuple[str, export.Export]:
    """Copy what the window holds of a person under an approved grant; return the reference of the case, too."""
    with_names = ["with the names of who looked"] if asked.names else []
    wish = Wish(Action.EXPORT, [asked.text, *with_names], asked.purpose, [asked.text])
    asker = service.enter(who.person, asked.case, wish).asker
    return str(asker.case), export.export(service.runtime, asker, asked.text, names=asked.names)
