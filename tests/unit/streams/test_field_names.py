"""Fields of any name: none of them gets in the way of the names rows are kept by while they are split."""

from __future__ import annotations

import orjson
import pytest
from transform_kit import Kit, rows, subjects

from lethe.schemas.declaration import format as formats
from lethe.schemas.errors import ConfigurationError

NAMES = [
    *("_id", "_row", "_index", "_batch", "id", "row", "index", "stream", "partition", "offset", "month"),
    *(
        "window_months",
        "late",
        "in_scope",
        "has_content",
        "redacted",
        "event_time",
        "=sender",
        "a*",
        "^a",
        "a$",
    ),
]


def declared(*fields: tuple[str, str]) -> str:
    head = (
        'name = "acme/names"\nversion = 1\ntitle = "t"\nchannel = "sms"\ndirection = "outbound"\n'
        'status_group = "DELIVERED"\n[[field]]\npath = "to"\nclass = "subject"\nrole = "recipient"\n'
        'end_user = "always"\nrequired = true\n[[field]]\npath = "at"\nclass = "archive"\ntype = "timestamp"\n'
        'column = "event_time"\nrequired = true\n'
    )
    return head + "".join(f'[[field]]\npath = "{path}"\nclass = "{cls}"\n' for path, cls in fields)


@pytest.mark.parametrize("text", ["plain", 'with "escapes"'])
@pytest.mark.parametrize("cls", ["window", "content"])
def test_fields_with_names_of_columns(cls: str, text: str) -> None:
    fmt = formats.parse_any(declared(*((name, cls) for name in NAMES)), "names.toml")
    kit = Kit(scope="none")
    record = {"to": "923005550142", "at": "2026-10-01T10:00:00Z", **dict.fromkeys(NAMES, text)}
    found = kit.process([orjson.dumps(record), b"no record", orjson.dumps(record)], fmt)
    assert [row["offset"] for row in rows(found.metadata)] == [0, 2]
    assert [row["reason"] for row in rows(found.quarantine)] == ["not_json"]
    assert len(subjects(found, kit.ring)) == 2
    kept = [orjson.loads(row["value"]) for row in rows(found.entries)]
    assert kept == ([dict.fromkeys(NAMES, text)] * 2 if cls == "window" else [])


@pytest.mark.parametrize("name", ["*", "^a$", "^.*$"])
def test_a_name_that_would_be_read_as_a_pattern_is_no_path(name: str) -> None:
    with pytest.raises(ConfigurationError, match="pattern of names"):
        formats.parse_any(declared((name, "window")), "names.toml")
