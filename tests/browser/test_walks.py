"""Each role's day, walked in a real browser."""

from __future__ import annotations

import os
import zipfile
from datetime import timedelta
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from walker import NOW, Walker

from lethe.operations.asker import Asker
from lethe.operations.retention.hold import Order, place

SHOTS = os.environ.get("LETHE_SHOTS")


RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}


LAPTOPS = (1440, 1366)
CUT = """() => [...document.querySelectorAll('.scroll')]
  .filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1 && !e.querySelector('.matrix, details[open]'))
  .map(e => `${e.getAttribute('aria-label')}: ${e.scrollWidth} of ${e.clientWidth}`)"""
"""Tables that have to be moved aside to be read; a matrix of fifty targets, and what is folded out, may be."""


THEMED = """async theme => {
  document.documentElement.dataset.theme = theme;
  const fades = document.getAnimations().filter(a => a.effect.getComputedTiming().endTime !== Infinity);
  await Promise.all(fades.map(a => a.finished.catch(() => null)));
}"""
"""Set a theme, and wait until no colour fades into another any more."""


def look(page: Page, name: str) -> None:
    """Check a page by WCAG 2.2 AA in both themes and on a phone; keep pictures of it where they are asked for."""
    page.wait_for_load_state()  # a click waits only until the answer begins: there may be no document yet
    for theme in ("light", "dark"):
        page.evaluate(THEMED, theme)
        found = Axe().run(page, options=RULES).response["violations"]
        assert not found, (name, theme, [(v["id"], [n["html"] for n in v["nodes"]]) for v in found])
    for width in (1280, *LAPTOPS):
        page.set_viewport_size({"width": width, "height": 860})
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name}: wider than its window of {width}"
    assert page.evaluate(CUT) == [], f"{name}: cut on a laptop"
    page.set_viewport_size({"width": 390, "height": 860})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, f"{name}: wider than a phone"
    found = Axe().run(page, options=RULES).response["violations"]
    assert not found, (name, "phone", [(v["id"], [n["html"] for n in v["nodes"]]) for v in found])
    page.set_viewport_size({"width": 1280, "height": 860})
    if SHOTS:
        folder = Path(SHOTS)
        folder.mkdir(parents=True, exist_ok=True)
        for theme in ("light", "dark"):
            page.evaluate(THEMED, theme)
            for width in (1440, 1366, 1280, 390):
                page.set_viewport_size({"width": width, "height": 860})
                page.screenshot(path=folder / f"{name}-{theme}-{width}.png", full_page=True)
        page.set_viewport_size({"width": 1280, "height": 860})


def test_an_investigator_looks_up_five_targets_of_a_case(walker: Walker) -> None:
    page = walker.page
    walker.go("/")
    expect(page).to_have_url(walker.site.url + "/sign-in")
    look(page, "sign-in")
    walker.sign_in("amal")
    expect(page.get_by_text("A look belongs to a case")).to_be_visible()
    look(page, "search-empty")
    page.get_by_role("link", name="Open a case").click()
    look(page, "cases-empty")
    page.get_by_label("Reference").fill("F-2041")
    page.get_by_label("What it is about").fill("Account take-over, three complaints")
    page.get_by_role("button", name="Open a case").click()
    expect(page.get_by_role("heading", name="F-2041")).to_be_visible()
    page.get_by_label("Add targets").fill("\n".join(f"+{n}" for n in walker.site.numbers[:5]))
    page.get_by_role("button", name="Add", exact=True).first.click()
    expect(page.get_by_text("5 of 50")).to_be_visible()
    page.get_by_label("Add a note").fill("Complaints of 12 and 14 March name the same sender.")
    page.get_by_role("button", name="Add", exact=True).last.click()
    page.get_by_role("button", name="Look all up").click()
    expect(page.get_by_role("table").first).to_be_visible()
    look(page, "case")
    page.get_by_role("button", name="Analyse side by side").click()
    expect(page.get_by_role("heading", name="Side by side")).to_be_visible()
    strangers = page.get_by_role("row").filter(has_text="P-")
    expect(strangers.first).to_contain_text("*")
    assert "4915112345000" not in page.content()
    look(page, "analysis")
    strangers.first.get_by_text("Reveal").first.click()
    strangers.first.get_by_label("Reason").fill("In touch with four of five targets.")
    strangers.first.get_by_role("button", name="Reveal").click()
    expect(page.get_by_text("4915112345000")).to_be_visible()
    assert "4915112345" not in page.url
    look(page, "reveal")
    walker.go("/")
    page.get_by_label("Numbers, addresses").fill("+" + walker.site.numbers[0])
    page.get_by_role("button", name="Look up").click()
    expect(page.get_by_role("heading", name="communications")).to_be_visible()
    assert walker.site.numbers[0] not in page.url
    look(page, "search")
    page.get_by_role("button", name="Time line").click()
    expect(page.get_by_text("nothing more was read")).to_be_visible()
    look(page, "search-time-line")
    page.get_by_role("button", name="Table").click()
    page.get_by_role("button", name="Status").click()
    expect(page.get_by_role("columnheader", name="Status")).to_have_attribute("aria-sort", "ascending")
    assert walker.site.numbers[0] not in page.url
    page.get_by_label("Numbers, addresses").fill("12")
    page.get_by_role("button", name="Look up").click()
    expect(page.get_by_text("needs its country code")).to_be_visible()
    look(page, "search-nothing")
    walker.go("/")
    expect(page.get_by_role("button", name="Look again").first).to_be_visible()
    look(page, "search-my-look-ups")
    kept = page.evaluate("JSON.stringify([localStorage, sessionStorage])")
    assert not any(n in kept for n in walker.site.numbers)


def test_an_investigator_looks_for_inflated_traffic_and_makes_a_case_file(walker: Walker) -> None:
    page = walker.page
    walker.sign_in("amal")
    walker.go("/cases")
    page.get_by_label("Reference").fill("F-2043")
    page.get_by_role("button", name="Open a case").click()
    expect(page.get_by_role("heading", name="F-2043")).to_be_visible()
    walker.go("/detection")
    look(page, "detection")
    for kind in ("ait", "recycled"):
        page.get_by_label("Pattern").select_option(kind)
        page.get_by_label("Month").select_option("2026-03")
        page.get_by_label("Case").select_option("F-2043")
        page.get_by_label("Numbers a block has").fill("10")
        page.get_by_label("Reason").first.fill("A partner's bill doubled.")
        page.get_by_role("button", name="Look for it").click()
        expect(page.get_by_text("xxx").first).to_be_visible()
        look(page, f"detection-{kind}")
    walker.go("/cases")
    page.get_by_role("link", name="F-2043").click()
    page.get_by_label("Add targets").fill("+" + walker.site.numbers[0])
    page.get_by_role("button", name="Add", exact=True).first.click()
    page.get_by_role("button", name="Make and download").wait_for(state="detached")
    page.locator("section", has=page.get_by_role("heading", name="Case file")).get_by_label("Reason").fill(
        "To the court."
    )
    page.get_by_role("button", name="Ask for it").click()
    expect(page.get_by_text("Waits for a second person")).to_be_visible()
    walker.sign_out()
    walker.sign_in("bela")
    walker.go("/approvals")
    page.get_by_role("button", name="Approve exactly this").last.click()
    walker.sign_out()
    walker.sign_in("amal")
    walker.go("/cases")
    page.get_by_role("link", name="F-2043").click()
    expect(page.get_by_role("button", name="Make and download")).to_be_visible()
    look(page, "case-file")
    with page.expect_download() as download:
        page.get_by_role("button", name="Make and download").click()
    assert download.value.suggested_filename == "case-file-F-2043.zip"


def test_a_second_person_approves_exactly_what_was_asked(walker: Walker) -> None:
    page = walker.page
    number = "+" + walker.site.numbers[0]
    walker.sign_in("amal")
    walker.go("/cases")
    page.get_by_label("Reference").fill("F-2042")
    page.get_by_role("button", name="Open a case").click()
    page.get_by_text("Ask for more").click()
    page.get_by_label("What", exact=False).first.select_option("bulk reveal")
    page.get_by_label("Of whom").fill(number)
    page.get_by_label("Reason").fill("Five senders share one device.")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_text("requested")).to_be_visible()
    walker.sign_out()
    walker.sign_in("bela")
    expect(page.get_by_text(number)).to_be_visible()
    expect(page.get_by_text("Five senders share one device.")).to_be_visible()
    look(page, "approvals")
    page.get_by_role("button", name="Approve exactly this").first.click()
    expect(page.get_by_text("Nothing waits for you")).to_be_visible()


def test_the_privacy_office_answers_a_person(walker: Walker) -> None:
    page = walker.page
    number = "+" + walker.site.numbers[6]
    walker.sign_in("dora")
    walker.go("/office")
    look(page, "office-empty")
    page.get_by_label("Reference").fill("DSR-31")
    page.get_by_label("Language of the answer").select_option("th")
    page.get_by_label("Received on").fill("2026-03-02")
    page.get_by_label("Answer due on").fill("2026-04-02")
    page.get_by_label("Numbers and addresses").fill(number)
    page.get_by_role("button", name="Write it down").click()
    expect(page.get_by_role("heading", name="DSR-31")).to_be_visible()
    assert walker.site.numbers[6] not in page.url
    look(page, "request")
    page.get_by_role("button", name="Look for the person").click()
    expect(page.get_by_text("entries of the person")).to_be_visible()
    page.get_by_label("Reason, as the approver reads it").fill(
        "The person wrote on 2 March; identity checked."
    )
    page.get_by_role("button", name="Ask for the copy").click()
    expect(page.get_by_text("waits for a second person")).to_be_visible()
    look(page, "request-waits")
    _approve(walker, "DSR-31")
    walker.sign_in("dora")
    walker.go("/office")
    look(page, "office")
    page.get_by_role("link", name="DSR-31").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the answer").click()
    assert download.value.suggested_filename == "answer-DSR-31-th.zip"
    with zipfile.ZipFile(download.value.path()) as files:
        letter = files.read("answer.html").decode()
        if SHOTS:
            (Path(SHOTS) / "answer.pdf").write_bytes(files.read("answer.pdf"))
    assert "ข้อมูลของคุณที่เราเก็บไว้" in letter
    reader = page.context.new_page()
    reader.set_content(letter)
    look(reader, "answer")
    reader.close()
    page.get_by_label("Outcome").select_option("done")
    page.get_by_role("button", name="The person has it").click()
    expect(page.get_by_text("Answered. What is sealed here goes by itself")).to_be_visible()


def test_the_privacy_office_erases_a_person_whom_a_hold_keeps(walker: Walker) -> None:
    page = walker.page
    number = "+" + walker.site.numbers[7]
    runtime = walker.site.service.runtime
    order = Order("District court", "C-118", NOW + timedelta(days=90), [number])
    place(runtime, Asker.of("dora", "C-118", "authority"), order)
    walker.sign_in("dora")
    walker.go("/office")
    page.get_by_label("Reference").fill("DSR-32")
    page.get_by_label("What is asked for").select_option("erasure")
    page.get_by_label("Numbers and addresses").fill(number)
    page.get_by_role("button", name="Write it down").click()
    page.get_by_role("button", name="Look for the person").focus()
    page.keyboard.press("Enter")  # as with the keyboard alone
    expect(page.get_by_text("Held: C-118")).to_be_visible()
    page.get_by_label("Reason for this step").fill("While the request is looked into.")
    page.get_by_role("button", name="Restrict").click()
    page.get_by_label("Reason, as the approver reads it").fill("The contract has ended.")
    page.get_by_role("button", name="Ask for the erasure").click()
    _approve(walker, "DSR-32")
    walker.sign_in("dora")
    walker.go("/office")
    page.get_by_role("link", name="DSR-32").click()
    look(page, "erasure-preview")
    page.get_by_label("Type DSR-32").fill("DSR-32")
    page.get_by_role("button", name="Erase for good").click()
    expect(page.get_by_text("Erased", exact=True)).to_be_visible()
    look(page, "erasure-done")
    page.get_by_role("link", name="Certificate").click()
    expect(page.get_by_text("Verified just now")).to_be_visible()
    look(page, "certificate")
    assert walker.site.numbers[7] not in page.content()


def _approve(walker: Walker, reference: str) -> None:
    """Somebody else approves what waits under a reference."""
    page = walker.page
    walker.sign_out()
    walker.sign_in("bela")
    asked = page.get_by_role("article").filter(has_text=reference)
    asked.get_by_role("button", name="Approve exactly this").click()
    walker.sign_out()


def test_a_billing_analyst_finds_a_charge_and_hands_a_dispute_over(walker: Walker) -> None:
    page = walker.page
    walker.sign_in("egon")
    expect(page.get_by_role("heading", name="Billing")).to_be_visible()
    page.get_by_role("region", name="Charges").get_by_role("link", name="acme-retail").first.click()
    expect(page.get_by_label("Without account")).to_be_visible()
    look(page, "billing-account")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    assert download.value.suggested_filename == "charges.csv"
    page.get_by_text("A message is disputed").click()
    page.get_by_label("Message ids").fill("message-1")
    page.get_by_label("What is disputed").fill("Billed twice in March.")
    page.get_by_label("Reference").fill("D-17")
    page.get_by_role("button", name="Hand over as a case").click()
    expect(page.get_by_text("is a case of Amal now")).to_be_visible()
    look(page, "dispute")
    walker.go("/billing?month=2019-01")
    look(page, "billing-empty")


def test_an_administrator_keeps_accounts(walker: Walker) -> None:
    page = walker.page
    walker.sign_in("gus")
    page.get_by_label("Name", exact=True).fill("two words")
    page.get_by_label("Shown as").fill("Zoë 通信 " + "w" * 50)
    page.get_by_role("checkbox", name="auditor").first.check()
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert").filter(has_text="Not done.")).to_contain_text("up to 120 of a-z")
    expect(page.get_by_label("Shown as")).to_have_value("Zoë 通信 " + "w" * 50)
    look(page, "accounts-refused")
    page.get_by_label("Name", exact=True).fill("zoe")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("status").filter(has_text="zoe was added")).to_be_visible()
    first = page.locator(".note code").inner_text()
    row = page.get_by_role("row").filter(has=page.locator(".muted", has_text="zoe"))
    expect(row).to_contain_text("first password")
    row.get_by_text("Change").first.click()
    row.get_by_role("checkbox", name="operator").check()
    look(page, "accounts-change")
    row.get_by_role("button", name="Give these roles").click()
    expect(row).to_contain_text("auditor, operator")
    walker.sign_out()
    for _ in range(10):
        walker.sign_in("zoe")
        expect(page.get_by_role("alert")).to_be_visible()
    walker.sign_in("gus")
    expect(row).to_contain_text("locked")
    row.get_by_text("Change").first.click()
    row.get_by_role("button", name="Unlock").click()
    expect(row).to_contain_text("first password")
    walker.sign_out()
    page.get_by_label("Name").fill("zoe")
    page.get_by_label("Password").fill(first)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Choose a password of your own first")).to_be_visible()
    look(page, "first-password")
    walker.go("/accounts")
    expect(page).to_have_url(walker.site.url + "/account")


def test_whoever_is_about_to_be_signed_out_is_told_and_stays_by_one_press(walker: Walker) -> None:
    page = walker.page
    page.clock.install()
    walker.sign_in("egon")
    told = page.get_by_role("alert").filter(has_text="Your session ends in two minutes")
    expect(page.get_by_role("heading", name="Billing")).to_be_visible()
    page.clock.fast_forward("24:00")  # and all the time that passes here beside it
    expect(told).to_be_hidden()
    page.clock.fast_forward("04:00")
    expect(told).to_be_visible()
    look(page, "session-ends")
    page.get_by_role("button", name="Stay signed in").focus()
    page.keyboard.press("Enter")
    expect(told).to_be_hidden()
    page.clock.fast_forward("28:10")
    expect(told).to_be_visible()
    page.clock.fast_forward("02:00")
    expect(page.get_by_role("alert").filter(has_text="Your session has ended")).to_be_visible()
    page.context.clear_cookies()
    page.get_by_role("checkbox", name="route").check()
    page.get_by_role("button", name="Show").click()
    expect(page).to_have_url(walker.site.url + "/sign-in")
    walker.sign_in("egon")
    expect(page).to_have_url(walker.site.url + "/billing")


def test_an_auditor_verifies_everything(walker: Walker) -> None:
    page = walker.page
    walker.sign_in("carl")
    walker.go("/integrity")
    for what in ("Ledger against the tables", "Audit log"):
        page.get_by_role("button", name=f"Verify now: {what}").click()
        row = page.get_by_role("row").filter(has_text=what)
        expect(row.get_by_text("verified", exact=True)).to_be_visible()
    look(page, "integrity")
    walker.go("/audit?action=sign-in")
    look(page, "audit-filtered")
    walker.go("/retention/certificates/9999")
    expect(page.get_by_role("alert")).to_be_visible()
    look(page, "error")


def test_boards_of_those_who_watch_bill_and_run(walker: Walker) -> None:
    page = walker.page
    for name, path, heading in (
        ("carl", "/audit", "Audit"),
        ("carl", "/retention", "Retention"),
        ("fay", "/ledger", "Ledger"),
        ("fay", "/health", "Health"),
        ("egon", "/billing", "Billing"),
        ("gus", "/accounts", "Accounts"),
        ("dora", "/account", "Dora"),
    ):
        walker.sign_in(name)
        walker.go(path)
        expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
        look(page, path.strip("/"))
        kept = page.evaluate("JSON.stringify([localStorage, sessionStorage])")
        assert not any(n in page.content() + kept for n in walker.site.numbers)
        walker.sign_out()
