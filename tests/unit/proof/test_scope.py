"""Who is in integrity scope: by number or by network, either party; and the setting in plain words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transform_kit import Kit

from lethe.operations.settings import load
from lethe.schemas.errors import ConfigurationError

BASE = {
    "bulkId": None, "messageId": "m-1", "sentAt": "2026-10-14T08:00:00.000+0000",
    "doneAt": "2026-10-14T08:00:01.000+0000", "messageCount": 1,
    "price": {"pricePerMessage": 0.01, "currency": "EUR"},
    "status": {"groupName": "DELIVERED", "name": "DELIVERED_TO_HANDSET"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "to", "network", "provable"),
    [
        (("PK",), "923001234567", "41001", True),
        (("PK",), "923001234567", None, True),
        (("PK",), "385911234567", "41001", True),  # a number of elsewhere that roams or was ported: MCC is enough
        (("PK",), "someone@example.org", "41003", True),
        (("PK",), "385911234567", "21910", False),
        (("PK",), "385911234567", None, False),
        (("PK", "HR"), "385911234567", None, True),
        (("IN",), "923001234567", "41001", False),
        ("all", "385911234567", None, True),
        ("none", "923001234567", "41001", False),
    ],
)  # fmt: skip
def test_scope(scope: str | tuple[str, ...], to: str, network: str | None, provable: bool) -> None:
    record = BASE | {"to": to, "sender": "BANK"} | ({"mccMnc": network} if network else {})
    kit = Kit(scope=scope)
    transformed = kit.process([json.dumps(record).encode()], "infobip/sms-report")
    (row,) = transformed.metadata.to_pylist()
    assert (row["integrity_hash"] is not None) is provable
    assert (row["original_form"] is not None) is provable
    assert transformed.counts.in_scope == int(provable)


@pytest.mark.parametrize(
    ("text", "scope"),
    [("PK", ("PK",)), ("PK,IN", ("PK", "IN")), ("PK, IN", ("PK", "IN")), ('["PK"]', ("PK",)), ("all", "all"),
     ("none", "none")],
)  # fmt: skip
def test_the_scope_is_set_in_plain_words(text: str, scope: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_INTEGRITY__SCOPE", text)
    assert load().integrity.scope == scope


@pytest.mark.parametrize("text", ["pk", "Pakistan", "PK IN", "PK,", "", "ALL"])
def test_a_scope_that_means_nothing_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_INTEGRITY__SCOPE", text)
    with pytest.raises(ConfigurationError, match=r"integrity\.scope"):
        load()


def test_the_scope_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "lethe.toml").write_text('[integrity]\nscope = "PK,IN"\n')
    assert load(tmp_path / "lethe.toml").integrity.scope == ("PK", "IN")


def test_what_cannot_name_a_log_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_INTEGRITY__LOG_NAME", "lethe.example.com/" + "a" * 80)
    monkeypatch.setenv("LETHE_SOURCES", json.dumps({"t" * 160: "infobip/sms-report"}))
    with pytest.raises(ConfigurationError, match="too long together"):
        load()
    monkeypatch.setenv("LETHE_SOURCES", json.dumps({"t" * 120: "infobip/sms-report"}))
    load()


@pytest.mark.parametrize("url", ["ftp://stamps.example.org", "stamps.example.org"])
def test_a_time_stamp_authority_is_spoken_to_over_http_and_known_by_its_root(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETHE_INTEGRITY__TIMESTAMP_URL", url)
    with pytest.raises(ConfigurationError, match=r"integrity\.timestamp_url \(.*\): an http or https URL"):
        load()
    monkeypatch.setenv("LETHE_INTEGRITY__TIMESTAMP_URL", "https://stamps.example.org")
    with pytest.raises(ConfigurationError, match="needs timestamp_roots"):
        load()
