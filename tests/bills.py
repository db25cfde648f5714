"""A warehouse with a month to bill, and the bill from the raw records: what examples of docs/billing.md must say."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "billing.md").read_text("utf-8")
EXAMPLES: dict[str, str] = dict(re.findall(r"^\*\*(\w+)\*\*\n\n```python\n(.*?)^```", GUIDE, re.M | re.S))
FORMATS = ("infobip/sms-report", "infobip/voice-report", "twilio/call")
COUNT, AGAIN = 400, 60


def lethe(home: Path, command: str) -> str:
    """Run a command in an installation below a folder and return what it wrote."""
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(home),
           "LETHE_ROOT": str(home / "warehouse"), "LETHE_KEYS_DIR": str(home / "keys")}  # fmt: skip
    done = subprocess.run(shlex.split(command), cwd=home, env=env, capture_output=True, timeout=90)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done.stdout.decode()


def fill(home: Path) -> Path:
    """Texts at a price each, calls at a price a second and at one in all, and texts that came twice."""
    for number, name in enumerate(FORMATS):
        file = home / f"{number}.ndjson"
        if name.startswith("infobip"):
            made = f"--count {COUNT} --seed {number} --until 2026-10-31 --out {file}"
            lethe(home, f"lethe generate --format {name} {made}")
        else:
            lines = (ROOT / "tests" / "fixtures" / "formats" / f"{name}.ndjson").read_bytes()
            file.write_bytes(re.sub(rb"\b20\d\d-\d\d-(\d\d)", rb"2026-10-\1", lines))
        lethe(home, f"lethe ingest {file} --format {name}")
    texts = [t for t in (home / "0.ndjson").read_bytes().splitlines(keepends=True) if b'"2026-10-' in t]
    (home / "again.ndjson").write_bytes(b"".join(texts[:AGAIN]))
    lethe(home, f"lethe ingest again.ndjson --format {FORMATS[0]}")
    lethe(home, "lethe adjustments run")
    return home / "warehouse"


def expected(
    warehouse: Path, rows: list[dict[str, Any]]
) -> dict[tuple[str | None, str | None], tuple[int, Decimal]]:
    """The bill from the raw records, one by one and exactly: every figure is the vendor's. `rows`: of the archive."""
    whose = {(r["format"], r["stream"], r["offset"]): (r["account"], r["month"]) for r in rows}
    found: dict[tuple[str | None, str | None], tuple[int, Decimal]] = {}
    for number, name in enumerate(FORMATS):
        lines = (warehouse.parent / f"{number}.ndjson").read_bytes().splitlines()
        (stream,) = (
            s for s in {r["stream"] for r in rows if r["format"] == name}
            if sum(r["stream"] == s for r in rows) == len(lines)
        )  # fmt: skip
        for offset, line in enumerate(lines):
            record = json.loads(line, parse_float=Decimal)
            account, month = whose[name, stream, offset]
            currency, amount = billed(name, record)
            if month == "2026-10" and amount is not None:
                records, total = found.get((account, currency), (0, Decimal(0)))
                found[account, currency] = (records + 1, total + amount)
    return found


def billed(name: str, record: dict[str, Any]) -> tuple[str | None, Decimal | None]:
    """What one raw record costs, as the vendor's documentation says."""
    if name == "twilio/call":
        return record["price_unit"], None if record["price"] is None else -Decimal(record["price"])
    price = record["price"]
    if name == "infobip/voice-report":
        seconds = Decimal(record["voiceCall"]["chargedDuration"])
        return price["currency"], Decimal(price["pricePerSecond"]) * seconds
    return price["currency"], Decimal(price["pricePerMessage"]) * record["messageCount"]
