"""Billing: what is charged by what one asks, as files too; disputes become an investigator's case."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest
from retention_world import report
from web_site import HER, HIM, Site

from lethe.operations import archive
from lethe.operations.access.roles import Role
from lethe.operations.adjustments import run
from lethe.operations.billing import NULL, Question, bill, charges
from lethe.schemas.errors import InputError

FEBRUARY = datetime(2025, 2, 10, 12, tzinfo=UTC)


def priced(
    number: int, to: str, account: str, price: float, currency: str = "EUR", state: str = "DELIVERED"
) -> bytes:
    record = json.loads(report(number, to, FEBRUARY + timedelta(seconds=number)))
    record["price"] = {"pricePerMessage": price, "currency": currency}
    record["status"] = {"groupId": 1, "groupName": state, "id": 5, "name": state, "description": "d"}
    return json.dumps({**record, "bulkId": account, "accountId": account, "clientMetadata": {}}).encode()


@pytest.fixture
def traffic(site: Site) -> Site:
    site.world.ingest(
        [
            priced(101, HER, "a1", 0.5),
            priced(102, HIM, "a1", 0.25, "USD"),
            priced(103, HER, "o'brien", 0.125),
            priced(104, HER, "a1", 4.0, state="PENDING"),
            priced(104, HER, "a1", 4.0),  # the same message once more: one of them counts
        ]
    )
    run(site.world.runtime)
    return site


def test_what_is_charged_is_what_is_billed(traffic: Site) -> None:
    runtime = traffic.world.runtime
    found = charges(runtime, Question.of(("account", "month"), {"month": "2025-02"}), 100)
    expected = {
        (r["account"], r["currency"]): (r["records"], r["charge"])
        for r in bill(runtime, 100).dicts()
        if r["month"] == "2025-02"
    }
    assert {
        (r["account"], r["currency"]): (r["records"], r["charge"]) for r in found.rows.dicts()
    } == expected
    assert len(expected) >= 2
    assert found.replaced == 1
    sums = {r["currency"]: r["charge"] for r in found.totals.dicts()}
    assert sums["USD"] == pytest.approx(0.25)
    assert float(sums["EUR"]) == pytest.approx(4.625)


def test_money_is_never_added_over_currencies(traffic: Site) -> None:
    question = Question.of(("channel",), {})
    assert "currency" in question.by
    assert "currency" in charges(traffic.world.runtime, question, 100).rows.columns


def test_the_page_leads_from_a_value_to_what_is_within_it(traffic: Site) -> None:
    browser = traffic.signed_in("egon", Role.BILLING_ANALYST)
    page = browser.get("/billing")
    assert "1 more row left out" in page
    link = re.search(r'href="(/billing\?[^"]*month=2025-02[^"]*)"', page)
    assert link
    narrowed = browser.get(link[1].replace("&amp;", "&"))
    assert "month: <b>2025-02</b>" in narrowed
    assert "2025-03" not in narrowed
    assert HER[1:] not in page + narrowed
    assert "No charges here" in browser.get("/billing?month=2019-01")
    assert "not said" in browser.get(f"/billing?route={NULL}")


def test_what_cannot_be_asked_is_refused_and_a_quote_is_a_quote(traffic: Site) -> None:
    browser = traffic.signed_in("egon", Role.BILLING_ANALYST)
    browser.get("/billing?by=password", 400)
    browser.get("/billing?month=then", 400)
    browser.get("/billing/download?form=exe", 400)
    assert "No charges here" in browser.get("/billing?account=x'+OR+'1'%3D'1")
    with pytest.raises(InputError):
        Question.of(("month; DROP VIEW billable",), {})


def test_sums_and_rows_come_as_csv_and_parquet(traffic: Site) -> None:
    client = traffic.signed_in("egon", Role.BILLING_ANALYST).client
    sums = client.get("/billing/download?by=month&month=2025-02&form=csv&what=sums")
    rows = list(csv.DictReader(io.StringIO(sums.text)))
    assert {r["currency"]: float(r["charge"]) for r in rows} == {"EUR": 4.625, "USD": 0.25}
    assert sums.headers["content-disposition"] == 'attachment; filename="charges.csv"'
    every = client.get("/billing/download?month=2025-02&form=parquet&what=rows")
    table = pq.read_table(io.BytesIO(every.content))
    assert table.num_rows == 4
    assert float(sum(v for v in table["charge"].to_pylist())) == pytest.approx(4.875)
    assert HER[1:].encode() not in every.content
    entries = [e for e in traffic.world.runtime.audit.entries() if e["action"] == "billing.download"]
    assert [e["count"] for e in entries] == [2, 4]


def test_a_download_holds_no_formula(traffic: Site) -> None:
    """A business chooses its sender id, and whoever asks what it costs opens the file in a spreadsheet."""
    asked, out = (
        "SELECT '=1+1' AS sender, -1.5 AS charge, NULL::VARCHAR AS route, '-x' AS status",
        io.BytesIO(),
    )
    assert archive.write(traffic.world.runtime, asked, "csv", out, for_people=True) == 1
    (row,) = csv.DictReader(io.StringIO(out.getvalue().decode()))
    assert row == {"sender": "'=1+1", "charge": "-1.5", "route": "", "status": "'-x"}
    plain = io.BytesIO()
    archive.write(traffic.world.runtime, asked, "csv", plain)
    assert b"'=" not in plain.getvalue()


def test_a_disputed_message_becomes_an_investigators_case(traffic: Site) -> None:
    biller = traffic.signed_in("egon", Role.BILLING_ANALYST)
    assert "There is no investigator yet" in biller.get("/billing")
    amal = traffic.signed_in("amal", Role.INVESTIGATOR)
    to = next(p.id for p in traffic.service.accounts.all() if p.name == "amal")
    wanted = {"messages": "message-101\nmessage-102", "reason": "billed twice", "reference": "D-17", "to": to}
    for wrong in ({"messages": " "}, {"reason": ""}, {"to": "nobody"}):
        biller.post("/billing/dispute", 400, **{**wanted, **wrong})
    assert "2 messages" in biller.post("/billing/dispute", **wanted)
    found = re.search(r'/cases/([0-9a-f-]{36})">D-17', amal.get("/cases"))
    assert found
    page = amal.get(f"/cases/{found[1]}")
    assert "message-102" in page
    assert "Handed over by egon: billed twice" in page
    biller.get(f"/cases/{found[1]}", 403)


def test_what_may_name_somebody_never_gets_into_the_audit(traffic: Site) -> None:
    """An audit entry is for good: a number that was typed as a reference, a reason or an address is not in it."""
    biller = traffic.signed_in("egon", Role.BILLING_ANALYST)
    traffic.signed_in("amal", Role.INVESTIGATOR)
    to = next(p.id for p in traffic.service.accounts.all() if p.name == "amal")
    wanted = {"messages": "message-101", "reason": "billed twice", "reference": f"D-1 {HER[1:]}", "to": to}
    page = biller.post("/billing/dispute", 400, **wanted)
    assert "it must be nobody&#39;s number" in page
    assert 'value="billed twice"' in page, "what was typed stays"
    assert ">\nmessage-101</textarea>" in page
    biller.get(f"/cases/{HER[1:]}", 403)
    biller.get("/cases/amal@example.net", 403)
    officer = traffic.signed_in("dora", Role.PRIVACY_OFFICER)
    officer.post("/office", reference="DSR-1", kind="access", about=HER, language="en")
    case = next(iter(re.findall(r"/office/([0-9a-f-]{36})", officer.get("/office"))))
    officer.post(f"/office/{case}/extend", 400, reason=f"{HER} is abroad")
    officer.post(f"/office/{case}/answered", 400, outcome=HER)
    entries = list(traffic.world.runtime.audit.entries())
    assert [e["what"] for e in entries if e["action"] == "refused"] == ["GET /cases/…"] * 2
    assert "dispute.hand-over" not in {e["action"] for e in entries}
    kept = json.dumps(entries)
    assert HER[1:] not in kept
    assert "amal@example.net" not in kept


def test_a_currency_leads_to_what_is_within_it_and_stand_ins_are_explained(traffic: Site) -> None:
    biller = traffic.signed_in("egon", Role.BILLING_ANALYST)
    page = biller.get("/billing")
    found = re.search(r'<a href="([^"]*currency=EUR[^"]*)">EUR</a>', page)
    assert found
    page = biller.get(found[1].replace("&amp;", "&"))
    assert "Without currency EUR" in page
    assert ">EUR</a>" not in page, "it is narrowed to it already"
    assert "stand for a name" not in page
    traffic.world.ingest([report(900, HER, FEBRUARY, account="Acme Retail Ltd (direct)")])
    assert "stand for a name that the archive may not show" in biller.get("/billing")
