"""Sections of a configuration: every type as file and environment write it, and all that is wrong with one at once."""

from __future__ import annotations

import pickle
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest

from lethe.schemas.sections import UNKNOWN, Secret, Section, SectionError, setting


class Colour(StrEnum):
    RED = "red"


class Disk(Section):
    kind: Literal["disk"]
    folder: Path


class Far(Section):
    kind: Literal["far"]
    url: str = setting(pattern=r"https://.+")


def _even(value: int) -> None:
    if value % 2:
        raise ValueError("an even number")


class Whole(Section):
    name: str = setting(default="x", min_length=1, max_length=4)
    count: int = setting(default=2, ge=0, le=100, check=_even)
    share: float = setting(default=0.5, le=1)
    on: bool = False
    word: Literal["a", "b"] | None = None
    several: tuple[int, ...] = setting(default=(), max_length=2)
    scope: Literal["all"] | tuple[str, ...] = ("PK",)
    by_name: dict[Colour, int] = setting(default_factory=dict)
    places: dict[str, Disk | Far] = setting(default_factory=dict)
    disk: Disk | None = None
    password: Secret | None = None

    def check(self) -> None:
        if self.word == "a" and self.on:
            raise ValueError("a is off")


def refused(**given: Any) -> dict[str, str]:
    with pytest.raises(SectionError) as refusal:
        Whole(**given)
    return {".".join(keys): what for keys, what in refusal.value.problems}


@pytest.mark.parametrize(
    ("name", "written", "read"),
    [
        ("count", "4", 4),
        ("count", 4.0, 4),
        ("share", "0.25", 0.25),
        ("share", 1, 1.0),
        ("on", "yes", True),
        ("on", "OFF", False),
        ("on", 1, True),
        ("word", None, None),
        ("word", "b", "b"),
        ("several", [1, "2"], (1, 2)),
        ("scope", "all", "all"),
        ("scope", ["PK", "IN"], ("PK", "IN")),
        ("by_name", {"red": 1}, {Colour.RED: 1}),
        ("places", {"one": {"kind": "far", "url": "https://x"}}, {"one": Far(kind="far", url="https://x")}),
        ("disk", {"kind": "disk", "folder": "/a"}, Disk(kind="disk", folder=Path("/a"))),
        ("password", "hunter2", Secret("hunter2")),
    ],
)
def test_a_setting_is_read_as_its_type(name: str, written: object, read: object) -> None:
    found = getattr(Whole(**{name: written}), name)
    assert (found, type(found)) == (read, type(read))
    assert getattr(Whole(**{name: read}), name) == read, "what was read is read again as it is"


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"name": ""}, "name"),
        ({"name": "hunter2"}, "name"),
        ({"name": 7}, "name"),
        ({"count": "hunter2"}, "count"),
        ({"count": True}, "count"),
        ({"count": 4.5}, "count"),
        ({"count": 101}, "count"),
        ({"count": -2}, "count"),
        ({"count": 3}, "count"),
        ({"count": None}, "count"),
        ({"share": "nan"}, "share"),
        ({"share": "inf"}, "share"),
        ({"share": 2}, "share"),
        ({"on": "hunter2"}, "on"),
        ({"on": 2}, "on"),
        ({"word": "hunter2"}, "word"),
        ({"several": "12"}, "several"),
        ({"several": [1, 2, 3]}, "several"),
        ({"several": [1, "hunter2"]}, "several.1"),
        ({"scope": 5}, "scope"),
        ({"by_name": {"blue": 1}}, "by_name.blue"),
        ({"by_name": [1]}, "by_name"),
        ({"places": {"one": {"kind": "hunter2"}}}, "places.one.kind"),
        ({"places": {"one": {"url": "https://x"}}}, "places.one.kind"),
        ({"places": {"one": {"kind": "far"}}}, "places.one.url"),
        ({"places": {"one": {"kind": "far", "url": "http://hunter2"}}}, "places.one.url"),
        ({"places": {"one": {"kind": "far", "url": "https://x\n"}}}, "places.one.url"),
        ({"disk": {"kind": "disk", "folder": "/a", "hunter": 2}}, "disk.hunter"),
        ({"disk": "hunter2"}, "disk"),
        ({"password": 5}, "password"),
        ({"nothing": 1}, "nothing"),
        ({"word": "a", "on": True}, ""),
    ],
)
def test_what_does_not_fit_is_named_without_its_value(given: dict[str, Any], where: str) -> None:
    found = refused(**given)
    assert list(found) == [where]
    assert "hunter2" not in found[where]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    found = refused(name="", count="x", nothing=1, places={"a": {"kind": "far"}, "b": {"kind": "disk"}})
    assert set(found) == {"name", "count", "nothing", "places.a.url", "places.b.folder"}
    assert found["nothing"] == UNKNOWN


def test_a_section_does_not_change_and_shows_no_secret() -> None:
    section = Whole(password="hunter2")  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        section.count = 4  # type: ignore[misc]
    assert "hunter2" not in repr(section)
    changed = section.replaced(count=4)
    assert (section.count, changed.count, changed.password) == (2, 4, Secret("hunter2"))
    assert changed != section
    assert pickle.loads(pickle.dumps(changed)) == changed
