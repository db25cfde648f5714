"""What somebody had typed stays with them after a refusal and a session that was over; long names stay in the page."""

from __future__ import annotations

from playwright.sync_api import expect
from test_walks import look
from walker import Walker

LONG = "F-" + "W" * 78
TITLE = "احتيال على الحسابات: ثلاث شكاوى " + "w" * 200


def test_a_refused_form_is_shown_again_as_it_was_typed(walker: Walker) -> None:
    page = walker.page
    walker.sign_in("amal")
    walker.go("/cases")
    page.get_by_label("Reference").fill("of 123456789")
    page.get_by_label("What it is about").fill(TITLE)
    page.get_by_role("button", name="Open a case").click()
    expect(page.get_by_role("alert").filter(has_text="Not done.")).to_be_focused()
    expect(page.get_by_label("What it is about")).to_have_value(TITLE)
    look(page, "refused")
    page.get_by_label("Reference").fill(LONG)
    page.get_by_role("button", name="Open a case").click()
    expect(page.get_by_role("heading", name=LONG)).to_be_visible()
    page.get_by_label("Add targets").fill("+" + walker.site.numbers[0])
    page.get_by_role("button", name="Add", exact=True).first.click()
    page.get_by_label("Add a note").fill("شكوى من ١٢ مارس\n" + "x" * 300)
    page.get_by_role("button", name="Add", exact=True).last.click()
    look(page, "case-long")
    page.get_by_text("Close the case").first.click()
    page.get_by_label("Reference").fill("F-1")
    page.get_by_role("button", name="Close the case").click()
    expect(page.get_by_role("alert").filter(has_text="Not done.")).to_be_focused()
    expect(page.get_by_label("Reference")).to_have_value("F-1")
    look(page, "refused-in-a-fold")
    page.get_by_label("From").fill("2026-03-20")
    page.get_by_role("button", name="Look all up").click()
    expect(page.locator("#found")).to_be_focused()
    expect(page.get_by_label("From")).to_have_value("2026-03-20")
    walker.go("/cases")
    look(page, "cases-long")
    walker.go("/")
    page.get_by_label("Numbers, addresses").fill("مجهول\n+4915100000001")
    page.get_by_role("button", name="Look up").click()
    expect(page.locator("#found")).to_be_focused()
    look(page, "search-long")


def test_what_was_sent_when_a_session_was_over_is_sent_after_the_sign_in(walker: Walker) -> None:
    page = walker.page
    walker.sign_in("amal")
    walker.go("/cases")
    page.get_by_label("Reference").fill("F-88")
    page.get_by_label("What it is about").fill("typed before")
    [cookie] = [c for c in page.context.cookies() if c["name"] == "lethe_session"]
    walker.site.service.sessions.end(cookie["value"])
    page.get_by_role("button", name="Open a case").click()
    expect(page.get_by_text("typed before")).to_be_visible()
    look(page, "session-over")
    page.get_by_label("Name").fill("amal")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    look(page, "once-more")
    page.get_by_role("button", name="Send it now").click()
    expect(page.get_by_role("heading", name="F-88")).to_be_visible()
    walker.sign_out()
    page.go_back()
    expect(page).to_have_url(walker.site.url + "/sign-in")
    assert page.get_by_text("F-88").count() == 0
