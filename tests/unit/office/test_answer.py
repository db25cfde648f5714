"""The answer a person can read: complete in every language, in its dates and numbers, with a font for each letter."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from html import escape
from typing import Any

import pytest
import typst

from lethe.operations.documents import fonts
from lethe.operations.documents.languages import LANGUAGES
from lethe.operations.office._texts import texts
from lethe.operations.office.answer import Done, Facts, files
from lethe.operations.settings import Office
from lethe.schemas.declaration.vocabulary import DIRECTIONS, STATUS_GROUPS
from lethe.schemas.errors import InputError
from lethe.tiers.rights.subject_export import CATEGORIES, LAW, OTHER

NOW = datetime(2026, 3, 28, 14, 5, 9, tzinfo=UTC)
HER = "+923001234567"
OFFICE = Office(controller="Example Ltd", contact="privacy@example.com", authority="Data Protection Board")


def content(records: int = 3, names: bool = False) -> dict[str, Any]:
    looks = [{"time": "2026-02-03T04:05:06+00:00", "category": c} for c in (*CATEGORIES.values(), OTHER)]
    if names:
        looks = [{**look, "who": "amal", "case": "F-1"} for look in looks]
    return {
        "records": [
            {
                "record": f"cdr/0/{n}", "event_time": f"2026-0{1 + n % 3}-01T12:00:00+00:00",
                "source": "infobip/sms-report",
                "identifiers": [{"role": "to", "kind": "msisdn", "value": "923001234567"}],
                "other_parties": [{"role": "from", "kind": "msisdn", "value": "4915*******"}],
                "metadata": {"channel": "sms", "direction": "outbound", "status_group": "DELIVERED", "country": "PK"},
                "identifiers_kept_until": "2027-05-01T00:00:00+00:00",
                "metadata_kept_until": "2037-01-01T00:00:00+00:00",
            }
            for n in range(records)
        ],
        "rejected_records": [{"record": "cdr/0/9", "format": "infobip/sms-report"}],
        "mentioned_in": [{"record": "cdr/0/8"}],
        "held_by_law": [
            {"records": 2, "months": ["2026-01"], "law": law, "kept_until": until, "authority": "not told",
             "reference": "not told"}
            for law, until in zip(LAW.values(), ("the hold is released", "2026-06-01T00:00:00+00:00"), strict=True)
        ],
        "recipients": [{"kind": k, "name": f"a-{k}"} for k in ("account", "application", "network", "route")],
        "sources": ["infobip/sms-report"],
        "looked_at": looks,
    }  # fmt: skip


def letter(code: str, kind: str = "access", done: Done | None = None, **more: Any) -> str:
    said = content(**more) if kind == "access" else None
    facts = Facts(kind, "DSR-12", date(2026, 3, 1), [HER], done or Done(), "Thank you.")
    return files(said, facts, code, OFFICE, NOW)["answer.html"].decode()


def test_every_language_says_the_same() -> None:
    english = texts("en")
    for code in LANGUAGES:
        mine = texts(code)
        assert mine.keys() == english.keys(), code
        for key, text in mine.items():
            assert text.strip() == text != "", (code, key)
            assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", english[key])), (
                code,
                key,
            )
    for name in (*(f"s_{s}" for s in STATUS_GROUPS), *(f"d_{d}" for d in DIRECTIONS)):
        assert name in english


@pytest.mark.parametrize("code", LANGUAGES)
def test_nothing_is_left_in_english(code: str) -> None:
    page = letter(code)
    own = {"SMS", "MMS", "Application", "Route", "Internal", "Expiré"}
    for key, text in texts("en").items():
        if code != "en" and "{" not in text and texts(code)[key] == text:
            assert text in own, key
    assert f'lang="{LANGUAGES[code].tag}"' in page
    for key in (
        "l_quarantine",
        "l_preview",
        "law_claims",
        "why_fraud",
        "s_DELIVERED",
        "r_network",
        "c_ids_until",
    ):
        assert texts(code)[key] in page, key
    assert OTHER not in page


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_case_is_said_in_every_language(code: str) -> None:
    """Erased, some held, the rest restricted; nothing to erase; refused; nothing found but what the law keeps."""
    day = date(2026, 3, 2)
    everything = Done(erased=day, entries=3, certificate=7, held=2, restricted=day)
    for kind, done, keys in (
        (
            "erasure",
            everything,
            ("erased", "certificate", "remains", "held_erasure", "restricted", "restricted_end"),
        ),
        ("erasure", Done(nothing=True), ("erased_nothing",)),
        ("objection", Done(refused=True), ("title_objection", "intro_objection", "refused")),
        ("access", Done(), ("nothing", "held", "law_order", "law_claims", "until_released", "not_told")),
    ):
        page = letter(code, kind, done, **({"records": 0} if kind == "access" else {}))
        for key in keys:
            for part in re.split(r"{\w+}", texts(code)[key]):
                assert escape(part.strip(), quote=False) in page, (kind, key)
        assert not re.search(r"{\w+}", page.split("</style>")[-1])


@pytest.mark.parametrize(
    ("code", "day", "month", "number"),
    [
        ("en", "1 March 2026", "March 2026", "1,234,567.5"),
        ("ja", "2026年3月1日", "2026年3月", "1,234,567.5"),
        ("zh-Hant", "2026 年 3 月 1 日", "2026 年 3 月", "1,234,567.5"),
        ("id", "1 Maret 2026", "Maret 2026", "1.234.567,5"),
        ("fr", "1er mars 2026", "mars 2026", "1\u202f234\u202f567,5"),
        ("th", "1 มีนาคม พ.ศ. 2569", "มีนาคม พ.ศ. 2569", "1,234,567.5"),
    ],
)
def test_dates_and_numbers_are_written_as_the_language_does(
    code: str, day: str, month: str, number: str
) -> None:
    language = LANGUAGES[code]
    assert language.date(date(2026, 3, 1)) == day
    assert language.year_month("2026-03") == month
    assert language.number(Decimal("1234567.5")) == number
    assert day in letter(code)  # the day the request was received
    assert language.instant(NOW).endswith("14.05.09" if code == "id" else "14:05:09")


@pytest.mark.parametrize("code", LANGUAGES)
def test_each_letter_has_a_font_and_the_pdf_is_tagged(code: str) -> None:
    facts = Facts("access", "DSR-12", date(2026, 3, 1), [HER])
    data = files(content(), facts, code, OFFICE, NOW)["answer.pdf"]
    assert data.startswith(b"%PDF")
    assert b"/StructTreeRoot" in data
    assert f"/Lang({LANGUAGES[code].tag.split('-')[0]}".encode() in data.replace(b" ", b"")
    used = {c for text in texts(code).values() for c in text if not c.isspace()}
    drawn = outlines("".join(sorted(used)), LANGUAGES[code].fonts)
    assert len(drawn) > 40
    assert not drawn & outlines("\U0010fffd", ["Noto Sans"]), "a letter is drawn as a box"


def test_a_letter_that_no_font_has_would_be_noticed() -> None:
    box = outlines("\U0010fffd", ["Noto Sans"])
    assert outlines("漢", ["Noto Sans"]) == box
    assert not outlines("漢", LANGUAGES["ja"].fonts) & box
    assert outlines("直", LANGUAGES["ja"].fonts) != outlines("直", LANGUAGES["zh-Hant"].fonts)


def outlines(text: str, families: list[str]) -> set[str]:
    """The outlines of the glyphs of a text, set in these fonts and no other."""
    source = (
        "#set text(font: (" + ", ".join(f'"{f}"' for f in families) + ",), fallback: false)\n#sys.inputs.text"
    )
    svg = typst.compile(
        source.encode(), format="svg", font_paths=fonts.installed(), sys_inputs={"text": text}
    )
    _page, *glyphs = re.findall(r' d="([^"]+)"', svg.decode())
    return set(glyphs)


def test_who_looked_is_named_only_where_the_export_names_them() -> None:
    assert "amal" not in letter("en")
    named = letter("en", names=True)
    assert "amal" in named
    assert "By whom" in named


def test_many_records_are_shown_in_part_and_the_rest_counted() -> None:
    page = letter("fr", records=1203)
    assert "Lignes supplémentaires\u00a0: 1\u202f003" in page
    assert page.count("4915*******") == 200


def test_what_was_done_is_said() -> None:
    done = Done(date(2026, 3, 20), 1234, 7, held=3)
    page = letter("id", "erasure", done)
    assert "Pada 20 Maret 2026 kami menghapus data Anda. Entri yang dihapus: 1.234." in page
    assert "nomor 7" in page
    assert "karena alasan hukum: 3" in page
    assert HER.replace("+", "") in page
    assert texts("ja")["erased_nothing"] in letter("ja", "erasure", Done(nothing=True))
    restricted = letter("th", "restriction", Done(restricted=date(2026, 3, 20)))
    assert "20 มีนาคม พ.ศ. 2569" in restricted
    refused = letter("zh-Hant", "access", Done(refused=True))
    assert texts("zh-Hant")["refused"] in refused
    assert "4915" not in refused


def test_a_person_gets_no_markup_of_anybody() -> None:
    facts = Facts(
        "access", "#let x = 1 <b>", date(2026, 3, 1), ["<script>alert(1)</script>"], words="*a* <i> #x"
    )
    made = files(content(), facts, "en", OFFICE, NOW)
    assert b"<script>" not in made["answer.html"]
    assert b"<i>" not in made["answer.html"]


def test_a_language_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="one of en, ja, zh-Hant, id, fr, th"):
        letter("xx")
