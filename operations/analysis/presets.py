"""Presets: questions investigators ask again and again, each one disclosed query over a case's communications.

A preset is its text: what is run is what is shown (SQL of Polars over the frame `events` of `communications`). The same
communications give the same answer, in the same order. What each cannot see stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from lethe.operations.analysis._preset_texts import TEXTS
from lethe.schemas.errors import InputError


@dataclass(frozen=True, slots=True)
class Preset:
    """One question: its name, what it asks, the query that answers it, and what it cannot see."""

    name: str
    title: str
    asks: str
    query: str
    limits: str


PRESETS: Final = {p.name: p for p in (Preset(*text) for text in TEXTS)}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a preset found."""

    preset: Preset
    columns: list[str]
    rows: list[tuple[Any, ...]]


def ask(events: pl.DataFrame, name: str) -> Answer:
    """Run a preset over communications; `InputError` for a name there is none of."""
    preset = PRESETS.get(name)
    if preset is None:
        raise InputError("there is no such preset: choose one of the list")
    with pl.SQLContext(events=events, eager=True) as context:
        found: pl.DataFrame = context.execute(preset.query)
    return Answer(preset, found.columns, found.rows())


def ask_all(events: pl.DataFrame) -> list[Answer]:
    """Run every preset, in the order of the list."""
    return [ask(events, name) for name in PRESETS]
