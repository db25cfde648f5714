"""What the site says of a source holds for files of it: numbers of the country, at ingestion and at replays."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "retention"))

from retention_world import World

from lethe.operations.health.doctor import _configuration
from lethe.operations.intake.ingest import ingest
from lethe.schemas.errors import InputError

CALL = (
    b'"","03005550142","100","from-pstn","""A"" <03005550142>","SIP/t-1","SIP/100-2","Dial","SIP/100",'
    b'"2025-03-14 15:00:00","2025-03-14 15:00:05","2025-03-14 15:01:00",60,55,"ANSWERED","DOCUMENTATION","17100.%d",""'
)
PBX = {"country": "PK", "zone": "Asia/Karachi"}


def world(folder: Path, sources: dict[str, str], **lines: Any) -> World:
    return World(folder, sources=sources, lines=lines)


def taken(one: World, number: int = 1, **more: Any) -> dict[str, Any]:
    path = one.folder / f"calls{number}.csv"
    path.write_bytes(CALL % number + b"\n")
    ingest(one.runtime, str(path), "asterisk/master", as_declared=True, **more)
    return one.rows("metadata")[-1]


def test_the_only_source_with_the_format_says_how_a_file_is_read(tmp_path: Path) -> None:
    row = taken(world(tmp_path, {"calls": "asterisk/master"}, calls=PBX))
    assert (row["country"], row["event_time"].hour) == ("PK", 10)


def test_without_a_source_numbers_are_nobodys_country(tmp_path: Path) -> None:
    one = world(tmp_path, {"calls": "asterisk/master"}, calls=PBX)
    row = taken(one, source_name="none")
    assert (row["country"], row["event_time"].hour) == (None, 15)


def test_a_source_is_named_where_several_have_the_format(tmp_path: Path) -> None:
    one = world(tmp_path, {"a": "asterisk/master", "b": "asterisk/master"}, a=PBX, b={"country": "DE"})
    with pytest.raises(InputError, match=r"--source \(a, b, or none\)"):
        taken(one)
    with pytest.raises(InputError, match="no such source"):
        taken(one, source_name="c")
    assert taken(one, source_name="a")["country"] == "PK"


def test_a_file_begun_under_one_source_does_not_go_on_under_another(tmp_path: Path) -> None:
    one = world(tmp_path, {"a": "asterisk/master", "b": "asterisk/master"}, a=PBX, b={"country": "DE"})
    one.runtime.file_sources.note("file-x", "a")
    with pytest.raises(InputError, match="--source a"):
        one.runtime.file_sources.note("file-x", "b")
    assert one.runtime.transform.rules.lines is not None
    assert one.runtime.transform.rules.lines("file-x").country == "PK"


def test_settings_of_a_source_that_is_none_are_told(tmp_path: Path) -> None:
    """A slip in the name would make everybody's own numbers people, without a word."""
    one = world(tmp_path, {"calls": "asterisk/master"}, calls=PBX, cals=PBX)
    fine, told = _configuration(one.runtime, "configuration")
    assert (fine.state, told.state) == ("ok", "warning")
    assert told.found.startswith("lines.cals ")
    assert "--source cals" in told.advice
