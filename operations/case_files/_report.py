"""The report of a case file: one list of blocks, written as HTML and as PDF, so that both say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from html import escape
from typing import Any, Final

import orjson
import typst

_TABLE_ROWS: Final = 50


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
    """A table, its first 50 rows; the CSV files have all."""

    head: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing, and what it shows in words."""

    svg: str
    said: str


Block = Heading | Text | Table | Picture

_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#14263a}"
    "table{border-collapse:collapse;font-size:.9em;margin:.5rem 0 1rem}th,td{border:1px solid #d5dde4;"
    "padding:.25rem .6rem;text-align:left;vertical-align:top}td.n{text-align:right}pre{background:#f5f7f8;"
    "padding:.7rem;overflow-x:auto;white-space:pre-wrap}svg{width:100%;height:auto;border:1px solid #d5dde4}"
)

_TYPST: Final = """\
#let data = json(bytes(sys.inputs.report))
#set document(title: data.title)
#set page(paper: "a4", margin: (x: 2cm, y: 2.2cm), numbering: "1 / 1", header: align(right, text(8pt, data.title)))
#set text(size: 10pt, lang: "en")
#set par(justify: false)
#show heading.where(level: 1): set text(18pt)
#show heading.where(level: 2): it => { v(0.7em); text(13pt, it); v(0.2em) }
#set table(stroke: 0.4pt + luma(190), inset: 4pt)
= #data.title
#for block in data.blocks {
  if block.kind == "heading" { heading(level: 2, block.text) }
  else if block.kind == "text" { par(block.text) }
  else if block.kind == "mono" { text(8pt, raw(block.text, block: true)) }
  else if block.kind == "picture" {
    figure(image(bytes(block.svg), format: "svg", width: 100%, alt: block.said), caption: block.said) }
  else { text(8pt, table(columns: block.head.len(),
    table.header(..block.head.map(h => strong(h))), ..block.rows.flatten().map(c => [#c]))) }
}
"""


def html(title: str, blocks: Sequence[Block]) -> bytes:
    """Write a report as one page of HTML that loads nothing."""
    body = "".join(map(_html, blocks))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{body}</body></html>"
    ).encode()


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h2>{escape(block.text)}</h2>"
    if isinstance(block, Text):
        return f"<pre>{escape(block.text)}</pre>" if block.mono else f"<p>{escape(block.text)}</p>"
    if isinstance(block, Picture):
        return f"<figure>{block.svg}<figcaption>{escape(block.said)}</figcaption></figure>"
    head = "".join(f"<th>{escape(h)}</th>" for h in block.head)
    rows = "".join(
        "<tr>" + "".join(f"<td{_numeric(v)}>{escape(said(v))}</td>" for v in row) + "</tr>"
        for row in block.rows[:_TABLE_ROWS]
    )
    more = "".join(f"<p>{text}</p>" for text in _more(block))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}"


def _numeric(value: Any) -> str:
    return ' class="n"' if isinstance(value, int | float | Decimal) else ""


def _more(block: Table) -> list[str]:
    """Say how many rows are not shown, if any are not."""
    rest = len(block.rows) - _TABLE_ROWS
    return [f"{rest:,} more are in the CSV files."] if rest > 0 else []


def pdf(title: str, blocks: Sequence[Block], made: datetime) -> bytes:
    """Write a report as a tagged PDF. Everything goes in as data: no text of a case is read as markup."""
    data = orjson.dumps({"title": title, "blocks": [b for block in blocks for b in _typst(block)]}).decode()
    return typst.compile(
        _TYPST.encode(), format="pdf", sys_inputs={"report": data}, timestamp=int(made.timestamp())
    )


def _typst(block: Block) -> list[dict[str, Any]]:
    if isinstance(block, Heading):
        return [{"kind": "heading", "text": block.text}]
    if isinstance(block, Text):
        return [{"kind": "mono" if block.mono else "text", "text": block.text}]
    if isinstance(block, Picture):
        return [{"kind": "picture", "svg": block.svg, "said": block.said}]
    rows = [[said(v) for v in row] for row in block.rows[:_TABLE_ROWS]]
    table = {"kind": "table", "head": list(block.head), "rows": rows}
    return [table, *({"kind": "text", "text": text} for text in _more(block))]


def said(value: Any) -> str:
    """Write a value as people read it."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
