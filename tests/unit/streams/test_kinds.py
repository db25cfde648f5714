"""A topic of several kinds: each record goes by its own declaration, and an unknown kind is refused."""

from __future__ import annotations

import orjson
import pytest
from transform_kit import NOW, Kit, kept, quarantine, rows

from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Kinds
from lethe.schemas.errors import ConfigurationError
from lethe.streams.transform.batch import Reason
from lethe.testing.traffic import generate

KIT = Kit(scope="all")
BY_HEADER = formats.get("infobip/webhooks")
BY_FIELD = Kinds.model_validate(
    {
        "name": "acme/mixed",
        "version": 1,
        "title": "t",
        "by_field": "meta.kind",
        "kinds": {"in": "infobip/sms-inbound", "out": "infobip/sms-report", "mail": "infobip/email-report"},
    }
)


def mixed(count: int = 30) -> tuple[list[bytes], list[str]]:
    """Records of three kinds in turn, and which."""
    names = ["sms-inbound", "sms-report", "email-report"]
    made = [list(generate(f"infobip/{n}", count, 3, until=NOW)) for n in names]
    return [made[at % 3][at // 3] for at in range(3 * count)], [names[at % 3] for at in range(3 * count)]


def test_by_header_every_record_becomes_what_it_would_alone() -> None:
    values, words = mixed()
    told = [w.encode() for w in words]
    together = KIT.process(values, BY_HEADER, kinds=told)
    alone = [
        KIT.process([v], f"infobip/{w}", first=at)
        for at, (v, w) in enumerate(zip(values, words, strict=True))
    ]
    for table in ("metadata", "identifiers", "entries", "quarantine"):
        assert rows(getattr(together, table)) == [r for one in alone for r in rows(getattr(one, table))], (
            table
        )
    assert together.counts.records == together.counts.split == together.counts.messages == 90


def test_by_a_field_of_the_record() -> None:
    values, words = mixed(10)
    short = {"sms-inbound": "in", "sms-report": "out", "email-report": "mail"}
    told = [
        orjson.dumps({"meta": {"kind": short[w]}, **orjson.loads(v)})
        for v, w in zip(values, words, strict=True)
    ]
    found = KIT.process(told, BY_FIELD)
    assert [r["format"] for r in rows(found.metadata)] == [f"infobip/{w}" for w in words]


def test_an_unknown_kind_is_refused_and_its_content_kept_nowhere() -> None:
    value = next(iter(generate("infobip/sms-inbound", 1, 3, until=NOW)))
    spoken = orjson.dumps({**orjson.loads(value), "text": "the eagle lands"})
    words: list[bytes | str | None] = [b"sms-inbound", b"sms-outbound", None, b"\xff", "", b" sms-inbound "]
    found = KIT.process([spoken] * 6, BY_HEADER, kinds=words)
    refused = quarantine(found, KIT.ring)
    assert [(r[0], r[2]) for r in refused] == [(at, Reason.UNKNOWN_KIND) for at in (1, 2, 3, 4)]
    assert all(b"eagle" not in (r[4] or b"") for r in refused)
    assert "eagle" not in str(kept(found))
    assert {r["format"] for r in rows(found.quarantine)} == {"infobip/webhooks"}
    assert [r["offset"] for r in rows(found.metadata)] == [0, 5]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"no json", Reason.NOT_JSON),
        (b"", Reason.EMPTY),
        (None, Reason.TOMBSTONE),
        (b"[]", Reason.NOT_AN_OBJECT),
        (b"{}", Reason.UNKNOWN_KIND),
        (b'{"meta":"in"}', Reason.WRONG_TYPE),
        (b'{"meta":{"kind":["in"]}}', Reason.UNKNOWN_KIND),
    ],
)
def test_a_record_whose_kind_cannot_be_read(value: bytes | None, reason: str) -> None:
    good = orjson.dumps(
        {"meta": {"kind": "in"}, **orjson.loads(next(iter(generate("infobip/sms-inbound", 1, 3, until=NOW))))}
    )
    found = KIT.process([good, value, good], BY_FIELD)
    assert [(r[0], r[2]) for r in quarantine(found, KIT.ring)] == [(1, reason)]
    assert found.counts.split == 2


def test_without_headers_nothing_is_known() -> None:
    found = KIT.process([b"{}", None], BY_HEADER)
    assert [r[2] for r in quarantine(found, KIT.ring)] == [Reason.UNKNOWN_KIND, Reason.TOMBSTONE]
    assert KIT.process([], BY_HEADER).counts.records == 0


def test_kinds_lead_to_formats_that_exist() -> None:
    assert all(formats.formats_of(f) for f in formats.builtin().values())
    lost = BY_FIELD.model_copy(update={"kinds": {"x": "acme/nothing"}})
    with pytest.raises(ConfigurationError, match="acme/nothing"):
        formats.formats_of(lost)
