"""E-mail and chat of people in Pakistan are in integrity scope where the site's table says where they are."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from transform_kit import MOST, batch_of, ring_at, rows

from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.operations.site_files import SiteFile, read_residence
from lethe.schemas.declaration import format as formats
from lethe.schemas.errors import ConfigurationError
from lethe.schemas.retention.policy import RetentionPolicy
from lethe.schemas.site.residence import parse_residence
from lethe.streams.transform.split.rules import Rules
from lethe.streams.transform.transform import Transform

NOW = datetime(2026, 1, 15, tzinfo=UTC)
GOOD = """\
# kind, value, country
account, acme-retail, PK
domain, example.pk, PK
domain, london.example.pk, GB
range, 203.0.113.0/25, PK
range, 2001:db8:92::/48, PK
subject, amal@example.org, PK
subject, +44 7700 900123, PK
"""


def mail(to: str, account: str = "globex") -> bytes:
    return json.dumps(
        {
            "messageId": "m", "to": to, "sender": "news@globex.example", "sentAt": "2026-01-02T03:04:05.000+0000",
            "messageCount": 1, "price": {"pricePerMessage": 0.001, "currency": "EUR"},
            "status": {"groupName": "DELIVERED"}, "platform": {"entityId": account},
        }
    ).encode()  # fmt: skip


def split(value: bytes, name: str = "infobip/email-report", table: str = GOOD) -> dict[str, object]:
    known = parse_residence(table, "residence.csv")
    rules = Rules(RetentionPolicy(), ("PK",), timedelta(days=1), residence=lambda: known)
    transform = Transform(ring_at(NOW), rules, MOST, lambda: NOW)
    found = transform.process(batch_of([value], name, now=NOW), formats.get(name))
    (row,) = rows(found.metadata)
    return row


@pytest.mark.parametrize(
    ("value", "country", "countries", "in_scope"),
    [
        (mail("zara@example.pk"), "PK", None, True),
        (mail("zara@mail.EXAMPLE.pk"), "PK", None, True),
        (mail("zara@london.example.pk"), "GB", None, False),
        (mail("amal@example.org"), "PK", None, True),
        (mail("amal@example.org", "acme-retail"), "PK", None, True),
        (mail("jane@example.com"), None, None, False),
        (mail("jane@example.com", "acme-retail"), "PK", None, True),
        (mail("zara@london.example.pk", "acme-retail"), "GB", "GB,PK", True),
    ],
)
def test_mail_is_placed_by_the_table(
    value: bytes, country: str | None, countries: str | None, in_scope: bool
) -> None:
    row = split(value)
    assert (row["country"], row["countries"]) == (country, countries)
    assert (row["integrity_hash"] is not None) is in_scope


@pytest.mark.parametrize("account", ["Acme Retail Ltd", "+923001234567", " Acme Retail Ltd "])
def test_an_account_that_ends_as_a_stand_in_is_placed_by_what_it_is(account: str) -> None:
    row = split(mail("jane@example.com", account), table=f"account, {account.strip()}, PK\n")
    assert str(row["account"]).startswith("~")
    assert (row["country"], row["integrity_hash"] is not None) == ("PK", True)
    assert (
        split(mail("jane@example.com", "Other Ltd"), table=f"account, {account.strip()}, PK\n")["country"]
        is None
    )


def test_a_subject_counts_before_its_number_and_other_numbers_are_as_ever() -> None:
    sms = '{"to":"%s","sender":"ACME","messageId":"m","sentAt":"2026-01-02T03:04:05Z","status":'
    sms += '{"groupName":"DELIVERED"}}'
    assert split((sms % "447700900123").encode(), "infobip/sms-report")["country"] == "PK"
    assert split((sms % "447700900124").encode(), "infobip/sms-report")["country"] == "GB"


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("203.0.113.0", "PK"), ("203.0.113.127", "PK"), ("203.0.113.128", None), ("203.0.112.255", None),
        ("2001:db8:92::1", "PK"), ("2001:db8:93::1", None), ("::", None), ("no address", None),
    ],
)  # fmt: skip
def test_ranges_end_where_they_say(address: str, country: str | None) -> None:
    assert parse_residence(GOOD, "r").of_address(address) == country


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("domain, example.pk\n", "line 1: write `kind, value, country`"),
        ("domain, example.pk, P", "line 1: the country is an ISO 3166"),
        ("\n# x\nplanet, earth, PK\n", "line 3: the kind is one of"),
        ("domain, *.example.pk, PK\n", "line 1: the value is no domain"),
        ("domain, jane@example.pk, PK\n", "line 1: the value is no domain"),
        ("range, 203.0.113.1/24, PK\n", "line 1: the value is no range"),
        ("range, 203.0.113.0/33, PK\n", "line 1: the value is no range"),
        ("range, 203.0.113.0/24, PK\nrange, 203.0.113.128/25, GB\n", "line 2: overlaps line 1"),
        ("account, a, PK\ndomain, b.pk, PK\naccount, a, GB\n", "line 3: says again what line 1 says"),
        ("subject, +447700900123, PK\nsubject, 0044 7700 900123, GB\n", "line 2: says again"),
        ("subject, anonymous, PK\n", "line 1: the value is no address"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_without_the_value(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        parse_residence(text, "r.csv")
    assert "7700" not in str(refused.value)
    assert "jane" not in str(refused.value)


def test_no_worker_starts_without_the_table_or_with_a_torn_one(tmp_path: Path) -> None:
    file = tmp_path / "residence.csv"
    settings = Settings(root=str(tmp_path / "warehouse"), keys_dir=tmp_path / "keys", residence=file)
    with pytest.raises(ConfigurationError, match="FileNotFoundError"):
        _ = Runtime(settings, lambda: NOW).transform
    file.write_text(GOOD[:-3])
    with pytest.raises(ConfigurationError, match="line 8"):
        _ = Runtime(settings, lambda: NOW).transform
    file.write_text(GOOD)
    assert Runtime(settings, lambda: NOW).transform.rules.residence is not None


def test_a_table_that_is_wrong_when_it_changes_leaves_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, now = tmp_path / "residence.csv", [0.0]
    file.write_text(GOOD)
    table = SiteFile(file, read_residence, lambda: now[0])
    file.write_text(GOOD + "range, 203.0.113.0/26, GB\n")
    now[0] = 10.0
    with caplog.at_level(logging.ERROR):
        assert table().of_address("203.0.113.1") == "PK"
    assert "line 9: overlaps line 5" in caplog.text
    file.write_text("domain, example.org, PK\n")
    now[0] = 20.0
    assert table().of_domain("mail.example.org") == "PK"
    assert table().of_address("203.0.113.1") is None
    file.unlink()
    now[0] = 30.0
    assert table().of_domain("example.org") == "PK"
