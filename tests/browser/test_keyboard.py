"""Every page by keyboard alone: each control is reached, in the order of the page, and shows that it has the focus."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from walker import PEOPLE, Walker

MOST = 400
"""Presses of Tab on a page, which is more than any has controls."""

CONTROLS = """() => [...document.querySelectorAll(
  'a[href], button:not([disabled]), input:not([type=hidden]):not([disabled]), select, textarea, summary, [tabindex="0"]'
)].filter(e => e.checkVisibility({visibilityProperty: true}))
 .map((e, n) => { e.dataset.stop = n; return e.outerHTML.slice(0, 90) })"""

FOCUSED = """() => {
  const e = document.activeElement;
  if (!e || e === document.body || e.dataset.stop === undefined) return null;
  const style = getComputedStyle(e), box = e.getBoundingClientRect();
  return {
    stop: Number(e.dataset.stop), told: e.outerHTML.slice(0, 90),
    seen: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
    inside: box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth && box.width > 0,
    named: Boolean(`${e.getAttribute('aria-label') || e.innerText || e.labels?.length || e.title || ''}`.trim()),
  };
}"""


def tabbed(page: Page, name: str) -> list[dict[str, Any]]:
    """Press Tab from the top of a page until the focus leaves it; judge every stop."""
    page.wait_for_load_state()
    controls = page.evaluate(CONTROLS)
    page.evaluate(
        "() => { document.activeElement?.blur(); getSelection().removeAllRanges(); scrollTo(0, 0) }"
    )
    page.evaluate(
        "() => { document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex') }"
    )
    stops: list[dict[str, Any]] = []
    for _ in range(MOST):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if found is None or (stops and found["stop"] == stops[0]["stop"]):
            break
        stops.append(found)
    order = [one["stop"] for one in stops]
    # Of the buttons of one choice a browser stops at one.
    missed = [told for n, told in enumerate(controls) if n not in order and 'type="radio"' not in told]
    assert not missed, (name, missed)
    assert order == sorted(order), (name, "the focus jumps about", [one["told"] for one in stops])
    for one in stops:
        assert one["seen"], (name, "no sign of the focus", one["told"])
        assert one["inside"], (name, "the focus is out of sight", one["told"])
        assert one["named"], (name, "says nothing of itself", one["told"])
    return stops


def graph_by_arrows(page: Page) -> None:
    """Walk the link graph from its first target: every node is reached by arrows, and says whom it is linked with."""
    nodes = page.locator("figure.graph [data-at]")
    expect(page.locator("figure.graph [data-at][tabindex='0']")).to_have_count(1)
    page.locator("#node-0").focus()
    picked = page.locator("[data-picked]")
    expect(picked).to_contain_text("target. Linked with")
    reached, new = {"node-0"}, ["node-0"]
    while new:
        at = new.pop()
        for key in ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"):
            page.locator(f"#{at}").focus()
            page.keyboard.press(key)
            there = page.evaluate("() => document.activeElement.id")
            if there not in reached:
                reached.add(there)
                new.append(there)
    assert len(reached) == nodes.count() > 3
    page.keyboard.press("End")
    last = page.locator(":focus")
    expect(last).to_have_attribute("id", f"node-{nodes.count() - 1}")
    expect(last).to_have_attribute("tabindex", "0")
    expect(picked).to_contain_text(str(last.get_attribute("aria-label")))
    links = page.locator(
        f"figure.graph [data-ends$=' {nodes.count() - 1}'], figure.graph [data-ends^='{nodes.count() - 1} ']"
    )
    expect(page.locator("figure.graph .link.near")).to_have_count(links.count())
    page.keyboard.press("Home")
    expect(page.locator("#node-0")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("() => !document.activeElement.closest('figure.graph svg')"), (
        "Tab leads out of the graph"
    )


def skips(page: Page, name: str) -> None:
    """Take the first stop, which leads past the menu, and see that the next one is within the page itself."""
    page.wait_for_load_state()
    page.evaluate(
        "() => { document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex') }"
    )
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the content")
    page.keyboard.press("Enter")
    expect(page.locator("#main"), name).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("() => !document.activeElement.closest('header')"), name


@pytest.mark.parametrize("name", PEOPLE)
def test_each_page_of_a_role_is_walked_by_keyboard(walker: Walker, name: str) -> None:
    page = walker.page
    walker.sign_in(name)
    page.wait_for_selector("nav[aria-label=Places]")
    paths = page.eval_on_selector_all(
        "nav[aria-label=Places] a", "all => all.map(a => a.getAttribute('href'))"
    )
    for path in [*paths, "/account", "/terminal"]:
        walker.go(path)
        tabbed(page, f"{name} {path}")
        skips(page, f"{name} {path}")


def test_a_case_is_worked_on_by_keyboard_alone(walker: Walker) -> None:
    page = walker.page
    walker.go("/sign-in")
    tabbed(page, "sign-in")
    page.get_by_label("Name").focus()
    page.keyboard.type("amal")
    page.keyboard.press("Tab")
    page.keyboard.type("correct horse battery")
    page.keyboard.press("Enter")
    page.wait_for_selector("nav[aria-label=Places]")
    walker.go("/cases")
    page.get_by_label("Reference").focus()
    page.keyboard.type("F-3001")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="F-3001")).to_be_visible()
    page.get_by_label("Add targets").focus()
    for number in walker.site.numbers[:3]:
        page.keyboard.type(f"+{number}\n")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("3 of 50")).to_be_visible()
    tabbed(page, "case")
    page.get_by_role("button", name="Look all up").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#found")).to_be_focused()
    tabbed(page, "answer")
    page.locator("details.ladder summary").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("details.ladder[open]")).to_have_count(1)
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(page.locator("details.ladder[open]")).to_have_count(0)
    expect(page.locator("summary:focus"), "Escape leads back to what opened it").to_have_count(1)
    page.get_by_role("button", name="Analyse side by side").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Side by side")).to_be_visible()
    tabbed(page, "analysis")
    graph_by_arrows(page)
    table = page.locator("#links summary")
    table.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Nodes and their links")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("region", name="Nodes and their links")).to_be_focused()
    page.get_by_role("checkbox", name="accounts").focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Draw again").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("nothing more was read")).to_be_visible()
    expect(page.get_by_role("checkbox", name="accounts")).to_be_checked()


REACHED = """() => {
  const seen = new Set(["node-0"]);
  for (const at of seen) for (const key of ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"]) {
    document.getElementById(at).focus();
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    seen.add(document.activeElement.id);
  }
  return seen.size;
}"""
SCRIPT = Path(__file__).parents[2] / "console" / "web" / "static" / "lethe.js"


@pytest.mark.parametrize("seed", range(20))
def test_arrows_lead_to_every_node_of_any_drawing(chromium: Browser, seed: int) -> None:
    """Of a crowd some node is nearest to no other; some lie in one place."""
    chance = Random(seed)
    many, width = chance.choice((1, 2, 5, 43, 80)), chance.choice((1, 4, 30, 800))
    drawn = "".join(
        f'<g id="node-{n}" data-at="{chance.uniform(0, width):.{chance.choice((0, 1))}f} {chance.uniform(0, 600):.1f}" '
        f'tabindex="{-1 if n else 0}" aria-label="{n}"><circle r="3"/></g>'
        for n in range(many)
    )
    html = f'<body><figure class="graph"><svg>{drawn}</svg><p data-picked></p></figure><script src="lethe.js"></script>'
    page = chromium.new_page()
    page.route("http://drawing.test/", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.route("http://drawing.test/lethe.js", lambda route: route.fulfill(path=SCRIPT))
    page.goto("http://drawing.test/")
    assert page.evaluate(REACHED) == many
    page.close()
