"""A service with made-up traffic, served on loopback, and Debian's Chromium to walk it with."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import timedelta

import orjson
import pytest
import uvicorn
from playwright.sync_api import Browser, expect, sync_playwright
from service_thread import serving
from walker import NOW, PASSWORD, PEOPLE, Site, Walker

from lethe.console.web.app import make_app
from lethe.console.web.service import Service
from lethe.console.web.tries import Tries
from lethe.operations.intake.ingest import ingest
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.testing.traffic import generate
from lethe.testing.traffic.fraud import fraud

expect.set_options(timeout=30_000)  # as long as a click waits: the machine may have much else to do


@pytest.fixture(scope="module")  # what one module leaves behind is not what another finds
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    settings = Settings(
        root=str(folder / "warehouse"), keys_dir=folder / "keys", serve={"second_factor": "choice"}
    )
    runtime = Runtime(settings, lambda: NOW)
    seen: dict[str, int] = {}
    for name in ("infobip/sms-report", "infobip/voice-report"):
        lines = list(generate(name, 3000, 7, until=NOW, months=3))
        for line in lines:
            for number in re.findall(rb'"to":"(\d{8,15})"', line):
                seen[number.decode()] = seen.get(number.decode(), 0) + 1
        path = folder / "records.ndjson"
        path.write_bytes(b"\n".join(lines) + b"\n")
        ingest(runtime, str(path), name)
        path.unlink()
    most = sorted(seen, key=lambda n: -seen[n])[:8]
    path.write_bytes(b"\n".join(planted(most)) + b"\n")
    ingest(runtime, str(path), "kamailio/acc")
    path.write_bytes(b"\n".join(fraud(0, 7, NOW)[0]) + b"\n")
    ingest(runtime, str(path), "infobip/sms-report")
    path.unlink()
    service = Service.open(runtime)
    service.tries = Tries(10_000, 60.0)  # all walks come from one address, one after the other
    for name, roles in PEOPLE.items():
        service.accounts.add(name, name.title(), roles, PASSWORD)
    server = uvicorn.Server(uvicorn.Config(make_app(service), port=0, log_level="error", access_log=False))
    with serving(server) as port:
        yield Site(f"http://127.0.0.1:{port}", service, most)
    service.database.engine.dispose()


def planted(numbers: list[str]) -> list[bytes]:
    """Make calls among the most frequent people and a few others: a ring that rings a stranger, and a burst."""
    start = NOW - timedelta(days=12)
    strangers = [f"4915112345{n:03d}" for n in range(30)]
    calls = [(a, numbers[(at + 1) % 5], at * 1.5) for at, a in enumerate(numbers[:5])]
    calls += [(a, strangers[0], 30 + at * 7.0) for at, a in enumerate(numbers[:4])]
    calls += [(numbers[at % 3], s, 40.0 + at * 3) for at, s in enumerate(strangers[1:8])]
    calls += [(numbers[0], s, 100 + at / 30) for at, s in enumerate(strangers)]
    return [
        orjson.dumps(
            {
                "time": int((start + timedelta(hours=hours)).timestamp()), "method": "INVITE", "from_tag": "a",
                "to_tag": "b", "callid": f"call-{at}", "sip_code": "200", "sip_reason": "OK", "src_user": f"+{a}",
                "src_domain": "sip.example.net", "dst_user": f"+{b}", "dst_domain": "sip.example.net",
            }
        )
        for at, (a, b, hours) in enumerate(calls)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    # No longer than a module: while it is there an event loop runs in this thread, and other tests begin their own.
    path = shutil.which("chromium")
    if path is None:
        pytest.exit("the pages are walked with Debian's chromium: apt-get install chromium", returncode=1)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-quic", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture
def walker(site: Site, chromium: Browser) -> Iterator[Walker]:
    context = chromium.new_context(viewport={"width": 1280, "height": 860}, locale="en-GB")
    page = context.new_page()
    strays: list[str] = []
    page.on(
        "request", lambda r: r.url.startswith(site.url) or r.url.startswith("data:") or strays.append(r.url)
    )
    page.on("console", lambda m: m.type == "error" and "40" not in m.text and strays.append(m.text))
    page.on("pageerror", lambda e: strays.append(str(e)))
    yield Walker(page, site, strays)
    context.close()
    assert strays == []
