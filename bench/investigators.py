"""Fifty investigators at once: `python -m bench.investigators [FOLDER] [--people 50] [--seconds 60] [--think 3]`.

Makes the demo in FOLDER (once; 200,000 records), serves it with `lethe serve` in a process of its own, adds the people,
and lets each of them, from an address of their own, sign in with a password, open a case with targets, and work: search
a number or a list, page through what is found, look at the case, analyse it side by side. Between two requests they
think for as long as --think says on average. Prints what each kind of request took, and every error.
"""

from __future__ import annotations

import argparse
import random
import re
import secrets
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson

from lethe.console.web.service import Service
from lethe.operations import settings
from lethe.operations.access.roles import Role
from lethe.operations.runtime import Runtime, system_clock
from lethe.testing.traffic import generate

PORT = 9475
BASE = f"http://127.0.0.1:{PORT}"
TARGETS = 3
ARRIVE = 25.0
"""Seconds within which all have come: a password costs processor time on purpose."""
LETHE = str(Path(sys.executable).with_name("lethe"))
_CSRF = re.compile(r'name="csrf" value="([^"]+)"')


class Clock:
    """What each kind of request took, in seconds, and what went wrong."""

    def __init__(self) -> None:
        self.took: dict[str, list[float]] = defaultdict(list)
        self.errors: list[str] = []
        self._lock = threading.Lock()

    def ask(
        self, client: httpx.Client, kind: str, method: str, path: str, **more: Any
    ) -> httpx.Response | None:
        """Send a request and note what it took until its last byte."""
        began = time.perf_counter()
        try:
            answer = client.request(method, path, follow_redirects=kind != "sign in", **more)
        except httpx.HTTPError as error:
            with self._lock:
                self.errors.append(f"{kind}: {type(error).__name__}")
            return None
        with self._lock:
            self.took[kind].append(time.perf_counter() - began)
            if answer.status_code >= 400:
                self.errors.append(f"{kind}: {answer.status_code}")
        return answer


def accounts(config: Path, people: int) -> list[tuple[str, str]]:
    """Add people, and return what they sign in with."""
    service = Service.open(Runtime(settings.load(config), system_clock))
    made = []
    for at in range(people):
        name, password = f"load-{at}-{secrets.randbelow(10**6)}", secrets.token_hex(12)
        service.accounts.add(name, name, [Role.INVESTIGATOR], password)
        made.append((name, password))
    service.database.engine.dispose()
    return made


@contextmanager
def served(config: Path) -> Iterator[None]:
    """Serve the demo in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "lethe.console.cli.main",
        "--config",
        str(config),
        "serve",
        "--port",
        str(PORT),
    ]
    with subprocess.Popen(command) as process:
        try:
            for _ in range(300):
                try:
                    if httpx.get(f"{BASE}/ready").status_code == 200:
                        break
                except httpx.HTTPError:
                    time.sleep(0.2)
            yield
        finally:
            process.terminate()


def work(clock: Clock, at: int, who: tuple[str, str], numbers: list[str], until: float, think: float) -> None:
    """Work as one investigator until the time is up."""
    draw = random.Random(at)
    transport = httpx.HTTPTransport(local_address=f"127.0.1.{at + 1}")
    with httpx.Client(base_url=BASE, transport=transport, timeout=60) as client:
        time.sleep(draw.uniform(0, ARRIVE))
        clock.ask(client, "sign in", "POST", "/sign-in", data={"name": who[0], "password": who[1]})
        page = clock.ask(client, "first page", "GET", "/account")
        found = _CSRF.search(page.text) if page is not None else None
        if found is None:
            clock.errors.append("no session")
            return
        csrf = {"csrf": found[1]}
        opened = clock.ask(
            client,
            "open a case",
            "POST",
            "/cases",
            data={**csrf, "reference": who[0], "purpose": "fraud"},
        )
        if opened is None:
            return
        case = str(opened.url).rsplit("/", 1)[1]
        mine = draw.sample(numbers, 20)
        clock.ask(
            client,
            "add targets",
            "POST",
            f"/cases/{case}/entries",
            data={**csrf, "targets": "\n".join(mine[:TARGETS])},
        )
        while time.time() < until:
            time.sleep(draw.expovariate(1 / think))
            kind = draw.choices(
                ("form", "search", "list", "page 2", "case", "time line", "analysis"), (2, 8, 2, 2, 2, 2, 1)
            )[0]
            if kind == "form":
                clock.ask(client, "search form", "GET", "/")
            elif kind == "case":
                clock.ask(client, "case", "GET", f"/cases/{case}")
            elif kind in ("time line", "analysis"):
                path = "search" if kind == "time line" else "analysis"
                clock.ask(client, f"case {kind}", "POST", f"/cases/{case}/{path}", data=csrf)
            else:
                values = draw.sample(mine, 5 if kind == "list" else 1)
                form = {
                    **csrf,
                    "case": case,
                    "values": "\n".join(values),
                    "page": "2" if kind == "page 2" else "1",
                }
                clock.ask(
                    client, f"search, {kind}" if kind != "search" else kind, "POST", "/search", data=form
                )


def known(how_many: int) -> list[str]:
    """Return numbers that the demo's traffic has."""
    now = datetime.now(UTC)
    until = datetime(now.year, now.month, 1, tzinfo=UTC)
    made = generate("infobip/sms-report", how_many * 4, 7, until=until, pakistan=0.1)
    return sorted({f"+{orjson.loads(line)['to']}" for line in made})[:how_many]


def told(clock: Clock) -> None:
    print(f"{'request':<18}{'times':>7}{'median':>9}{'p95':>9}{'worst':>9}  (ms)")
    every = sorted(t for kind, times in clock.took.items() for t in times if kind != "sign in")
    for kind, times in [*sorted(clock.took.items()), ("all but sign in", every)]:
        ordered = sorted(times)
        at = [ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 for share in (0.5, 0.95, 1.0)]
        print(f"{kind:<18}{len(ordered):>7}" + "".join(f"{one:>9.0f}" for one in at))
    print(f"errors: {len(clock.errors)} {sorted(set(clock.errors))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("var/load"))
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--think", type=float, default=3.0)
    parser.add_argument("--records", type=int, default=200_000)
    chosen = parser.parse_args()
    config = chosen.folder / "lethe.toml"
    if not config.exists():
        command = [LETHE, "demo", "--dir", str(chosen.folder)]
        subprocess.run([*command, "--records", str(chosen.records)], check=True)
    people = accounts(config, chosen.people)
    numbers, clock = known(2000), Clock()
    with served(config), ThreadPoolExecutor(chosen.people) as pool:
        until = time.time() + chosen.seconds
        for at, who in enumerate(people):
            pool.submit(work, clock, at, who, numbers, until, chosen.think)
    told(clock)


if __name__ == "__main__":
    main()
