"""A document: one list of blocks, written as HTML and as PDF, so that both say the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from html import escape
from typing import Any, Final

import orjson
import typst

from lethe.operations.documents import fonts
from lethe.operations.documents.languages import Language

_SANS: Final = ("Noto Sans", "Noto Sans Thai", "Noto Sans CJK JP")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; `mono` as it was typed."""

    text: str
    mono: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table, its first rows; the CSV files have all. `facts`: its first column names what the second says.

    `hidden`: how many rows it has besides `rows`, of a table of which nobody holds all.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    facts: bool = False
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """A list, an item each."""

    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing, and what it shows in words."""

    svg: str
    said: str


Block = Heading | Text | Table | Listing | Picture


def said(value: Any) -> str:
    """Write a value as people read it."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


@dataclass(frozen=True, slots=True)
class Ways:
    """The ways of a document: its language, how values are written, and how much of a table is shown."""

    tag: str = "en"
    families: Sequence[str] = _SANS
    said: Callable[[Any], str] = said
    more: Callable[[int], str] = lambda rest: f"{rest:,} more are in the CSV files."
    rows: int = 50

    @classmethod
    def of(cls, language: Language, more: Callable[[int], str], rows: int) -> Ways:
        """Take the ways of a language; `more` says how many rows of a table are not shown."""
        return cls(language.tag, language.fonts, language.said, more, rows)


ENGLISH: Final = Ways()

_STYLE: Final = (
    ":root{color-scheme:light dark}body{font:16px/1.6 'Noto Sans',system-ui,sans-serif;max-width:52rem;"
    "margin:2rem auto;padding:0 1rem;color:#14263a;background:#fff}h1{font-size:1.7rem;line-height:1.3}"
    "h2{font-size:1.15rem;margin-top:2rem}.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.9em;"
    "margin:.5rem 0 1rem}th,td{border-bottom:1px solid #d5dde4;padding:.3rem .8rem .3rem 0;text-align:left;"
    "vertical-align:top}td.n{text-align:right}pre{background:#f5f7f8;padding:.7rem;overflow-x:auto;white-space:pre-wrap}"
    "svg{width:100%;height:auto;border:1px solid #d5dde4}:lang(th){line-height:1.8}"
    "@media(prefers-color-scheme:dark){body{color:#e4ecf2;background:#0d1822}th,td{border-color:#2b3f52}"
    "pre{background:#142330}svg{background:#fff}}"
)

_TYPST: Final = """\
#let data = json(bytes(sys.inputs.report))
#set document(title: data.title)
#set page(paper: "a4", margin: (x: 2.2cm, y: 2.4cm), numbering: "1 / 1",
  header: align(right, text(8pt, fill: luma(90), data.title)))
#set text(size: 10pt, lang: data.lang, region: data.region, font: data.fonts)
#set par(justify: false, leading: 0.75em, spacing: 1.1em)
#show heading.where(level: 1): it => block(below: 1.2em, text(18pt, it.body))
#show heading.where(level: 2): it => block(above: 1.8em, below: 0.9em, sticky: true, text(12.5pt, it.body))
#set table(stroke: (x, y) => (bottom: 0.4pt + luma(190)), inset: (x: 5pt, y: 4.5pt), align: left)
#set table.cell(breakable: false)
= #data.title
#for block in data.blocks {
  if block.kind == "heading" { heading(level: 2, block.text) }
  else if block.kind == "text" { par(block.text) }
  else if block.kind == "mono" { text(8pt, raw(block.text, block: true)) }
  else if block.kind == "list" { list(..block.items.map(i => [#i])) }
  else if block.kind == "facts" {
    table(columns: (auto, 1fr), ..block.rows.map(r => (strong(r.at(0)), [#r.at(1)])).flatten()) }
  else if block.kind == "picture" {
    figure(image(bytes(block.svg), format: "svg", width: 100%, alt: block.said), caption: block.said) }
  else { text(8pt, table(columns: block.head.len(),
    table.header(..block.head.map(h => strong(h))), ..block.rows.flatten().map(c => [#c]))) }
}
"""


def html(title: str, blocks: Sequence[Block], ways: Ways = ENGLISH) -> bytes:
    """Write a document as one page of HTML that loads nothing."""
    body = "".join(_html(block, ways) for block in blocks)
    return (
        f'<!doctype html><html lang="{escape(ways.tag)}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{body}</body></html>"
    ).encode()


def _html(block: Block, ways: Ways) -> str:
    if isinstance(block, Heading):
        return f"<h2>{escape(block.text)}</h2>"
    if isinstance(block, Text):
        return f"<pre>{escape(block.text)}</pre>" if block.mono else f"<p>{escape(block.text)}</p>"
    if isinstance(block, Listing):
        return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in block.items) + "</ul>"
    if isinstance(block, Picture):
        return f"<figure>{block.svg}<figcaption>{escape(block.said)}</figcaption></figure>"
    if block.facts:
        rows = "".join(
            f'<tr><th scope="row">{escape(name)}</th><td>{escape(ways.said(value))}</td></tr>'
            for name, value in block.rows
        )
        return f'<div class="scroll" tabindex="0"><table><tbody>{rows}</tbody></table></div>'
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in block.head)
    rows = "".join(
        "<tr>" + "".join(f"<td{_numeric(v)}>{escape(ways.said(v))}</td>" for v in row) + "</tr>"
        for row in block.rows[: ways.rows]
    )
    more = "".join(f"<p>{escape(text)}</p>" for text in _more(block, ways))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="scroll" tabindex="0">{table}</div>{more}'


def _numeric(value: Any) -> str:
    return ' class="n"' if isinstance(value, int | float | Decimal) else ""


def _more(block: Table, ways: Ways) -> list[str]:
    """Say how many rows are not shown, if any are not."""
    rest = len(block.rows) + block.hidden - ways.rows
    return [ways.more(rest)] if rest > 0 else []


def pdf(title: str, blocks: Sequence[Block], made: datetime, ways: Ways = ENGLISH) -> bytes:
    """Write a document as a tagged PDF. Everything goes in as data: no text of anybody is read as markup."""
    language, *parts = ways.tag.split("-")
    data = orjson.dumps(
        {
            "title": title,
            "lang": language,
            "region": next((p for p in parts if len(p) == 2), None),
            "fonts": list(ways.families),
            "blocks": [b for block in blocks for b in _typst(block, ways)],
        }
    ).decode()
    return typst.compile(
        _TYPST.encode(), format="pdf", sys_inputs={"report": data}, timestamp=int(made.timestamp()),
        font_paths=fonts.installed(),
    )  # fmt: skip


def _typst(block: Block, ways: Ways) -> list[dict[str, Any]]:
    if isinstance(block, Heading):
        return [{"kind": "heading", "text": block.text}]
    if isinstance(block, Text):
        return [{"kind": "mono" if block.mono else "text", "text": block.text}]
    if isinstance(block, Listing):
        return [{"kind": "list", "items": list(block.items)}]
    if isinstance(block, Picture):
        return [{"kind": "picture", "svg": block.svg, "said": block.said}]
    rows = [[ways.said(v) for v in row] for row in block.rows[: ways.rows]]
    if block.facts:
        return [{"kind": "facts", "rows": rows}]
    table = {"kind": "table", "head": list(block.head), "rows": rows}
    return [table, *({"kind": "text", "text": text} for text in _more(block, ways))]
