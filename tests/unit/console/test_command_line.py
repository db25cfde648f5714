"""The command line over a small warehouse: answers, JSON, errors in one line, exit codes."""

from __future__ import annotations

import csv
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from audits import audit_bytes, audit_entries

from lethe.console.cli.who import who
from lethe.operations import archive
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.schemas.errors import LetheError

LETHE = [str(Path(sys.executable).parent / "lethe")]
ROOT = Path(__file__).parents[3]


class Lethe:
    """A warehouse of its own and the command over it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("LETHE_")}
        self.env |= {"LETHE_ROOT": str(home / "warehouse"), "LETHE_KEYS_DIR": str(home / "keys"),
                     "LETHE_BOOTSTRAP": "127.0.0.1:1", "LETHE_METRICS_PORT": "0"}  # fmt: skip

    def __call__(self, *arguments: str, status: int = 0, stdin: bytes | None = None, **env: str) -> str:
        done = subprocess.run(
            [*LETHE, *arguments],
            env=self.env | env,
            cwd=self.home,
            input=stdin,
            capture_output=True,
            timeout=240,
        )
        assert done.returncode == status, (arguments, done.stdout[-500:], done.stderr[-2000:])
        self.errors = done.stderr.decode()
        if status == 1:
            assert len(self.errors.strip().splitlines()) == 1, self.errors
        return done.stdout.decode()

    @property
    def runtime(self) -> Runtime:
        """The same in this process."""
        return Runtime(Settings(root=str(self.home / "warehouse"), keys_dir=self.home / "keys"))

    def json(self, *arguments: str, **env: str) -> object:
        return json.loads(self(*arguments, "--json", **env))


@pytest.fixture(scope="module")
def lethe(tmp_path_factory: pytest.TempPathFactory) -> Lethe:
    lethe = Lethe(tmp_path_factory.mktemp("lethe"))
    lethe("generate", "--format", "infobip/sms-report", "--count", "400", "--seed", "3", "--malformed", "0.02",
          "--out", "records.ndjson")  # fmt: skip
    lethe("ingest", "records.ndjson", "--format", "infobip/sms-report")
    return lethe


@pytest.fixture(scope="module")
def record(lethe: Lethe) -> dict[str, object]:
    for line in (lethe.home / "records.ndjson").read_bytes().splitlines():
        try:
            found: dict[str, object] = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and str(found.get("to", "")).startswith("92"):
            return found
    raise AssertionError("the traffic has no record of Pakistan")


def spellings(number: str) -> list[str]:
    return [
        number,
        f"+{number}",
        f"00{number}",
        f"+{number[:2]} {number[2:5]} {number[5:]}",
        f"tel:+{number}",
    ]


def test_a_number_is_found_in_every_spelling(lethe: Lethe, record: dict[str, object]) -> None:
    number = str(record["to"]).lstrip("+")
    answers = [lethe.json("lookup", s, "--case", "C", "--purpose", "test") for s in spellings(number)]
    assert answers[0]
    assert all(answer == answers[0] for answer in answers)
    for row in answers[0]:  # type: ignore[attr-defined]
        assert row["role"] == "recipient"
        assert row["kind"] == "msisdn"
        assert row["record"].startswith(row["stream"] + "/0/")
        assert row["country"] == "PK"
        assert row["integrity_hash"] is not None
    times = [row["event_time"] for row in answers[0]]  # type: ignore[attr-defined]
    assert times == sorted(times, reverse=True)


def test_a_message_id_is_found(lethe: Lethe, record: dict[str, object]) -> None:
    answer = lethe.json("lookup", str(record["messageId"]), "--case", "C", "--purpose", "test")
    assert len(answer) == 1  # type: ignore[arg-type]


def test_a_list_is_looked_up_in_one_go(lethe: Lethe, record: dict[str, object]) -> None:
    number, message = str(record["to"]), str(record["messageId"])
    case = ("--case", "C", "--purpose", "a list")
    alone = [lethe.json("lookup", value, *case) for value in (number, message)]
    numbered = [{"value": n, **row} for n, rows in enumerate(alone, 1) for row in rows]  # type: ignore[attr-defined]
    assert lethe.json("lookup", number, message, *case) == numbered
    entries = len(audit_entries(lethe.home / "keys"))
    ask = [*LETHE, "--json", "lookup", "-", *case]
    listed = f"{number}\n\n{message}\n"
    done = subprocess.run(
        ask, env=lethe.env, cwd=lethe.home, input=listed, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == numbered
    assert len(audit_entries(lethe.home / "keys")) == entries + 2
    long = "+923009999999\n" * 1_001
    refused = subprocess.run(
        ask, env=lethe.env, cwd=lethe.home, input=long, capture_output=True, text=True, check=False
    )
    assert (refused.returncode, "1 to 1000 values" in refused.stderr + refused.stdout) == (2, True)
    assert lethe("lookup", number, message, "--hold", "H-1", *case, status=2) == ""
    shown = lethe("lookup", number, "+923009999999", *case)
    assert "Value 2 of 2" in shown + lethe.errors
    assert number not in shown + lethe.errors


def test_the_audit_log_holds_tokens_and_no_value(lethe: Lethe, record: dict[str, object]) -> None:
    number = str(record["to"]).lstrip("+")
    lethe("lookup", number, "--case", "F-77", "--purpose", "audit test", SUDO_USER="inspector", USER="inspector",
          LOGNAME="inspector")  # fmt: skip
    text = audit_bytes(lethe.home / "keys").decode("latin-1")
    entry = audit_entries(lethe.home / "keys")[-1]
    assert (entry["case"], entry["purpose"], entry["who"]) == ("F-77", "audit test", who())
    assert entry["count"] >= 1
    assert entry["subjects"]
    assert "tokens" not in entry
    assert number not in text
    assert number[2:] not in text


def test_nobody_asks_under_a_name_of_their_choice(lethe: Lethe, record: dict[str, object]) -> None:
    before = audit_bytes(lethe.home / "keys")
    ask = ("lookup", str(record["to"]), "--case", "C", "--purpose", "p")
    assert lethe(*ask, status=1, LETHE_USER="inspector") == ""
    assert "no setting is called LETHE_USER" in lethe.errors
    assert audit_bytes(lethe.home / "keys") == before


def test_the_entry_names_the_terminal(lethe: Lethe, record: dict[str, object]) -> None:
    ask = [*LETHE, "lookup", str(record["to"]), "--case", "C", "--purpose", "p"]
    ours, theirs = pty.openpty()
    try:
        for stdin, source in ((theirs, os.ttyname(theirs)), (subprocess.DEVNULL, None)):
            subprocess.run(ask, env=lethe.env, cwd=lethe.home, stdin=stdin, capture_output=True, check=True)
            entry = audit_entries(lethe.home / "keys")[-1]
            assert entry.get("source") == source
    finally:
        os.close(ours)
        os.close(theirs)


def test_without_an_audit_entry_there_is_no_answer(lethe: Lethe, record: dict[str, object]) -> None:
    blocked = lethe.home / "blocked"
    blocked.write_text("")
    out = lethe(
        "lookup", str(record["to"]), "--case", "C", "--purpose", "p", status=1, LETHE_AUDIT_DIR=str(blocked)
    )
    assert out == ""
    assert "audit log" in lethe.errors


def test_times_limit_a_look_up(lethe: Lethe, record: dict[str, object]) -> None:
    ask = ("lookup", str(record["to"]), "--case", "C", "--purpose", "p")
    assert lethe.json(*ask, "--until", "2020-01-01") == []
    assert lethe.json(*ask, "--since", "2020-01-01") == lethe.json(*ask)


def test_sql_reads_the_archive_and_nothing_else(lethe: Lethe) -> None:
    rows = lethe.json("sql", "SELECT count(*) AS n, min(event_time) AS first FROM metadata")
    assert rows[0]["n"] > 380  # type: ignore[index]
    for statement in (
        "SELECT * FROM read_text('/etc/hostname')",
        "COPY metadata TO '/tmp/lethe-test.csv'",
        "ATTACH '/tmp/lethe-test.db'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SELECT * FROM warehouse",
        "SELECT nonsense FROM metadata",
    ):
        lethe("sql", statement, status=1)
        assert lethe.errors.startswith("lethe: sql: ")


def test_the_ledger_adds_up_and_says_when_it_does_not(lethe: Lethe) -> None:
    assert lethe.json("ledger", "--check") == {"ok": True, "findings": []}
    row = lethe.json("ledger")[0]  # type: ignore[index]
    assert row["records"] == row["split"] + row["late"] + row["rejected"] + row["tombstones"]
    assert sum(row["rejected_by_reason"].values()) == row["rejected"]


def test_the_quarantine_explains_and_reveals_only_with_a_case(lethe: Lethe) -> None:
    rows = lethe.json("quarantine", "list")
    assert rows
    assert all(r["explanation"] and "sealed" not in r for r in rows)  # type: ignore[attr-defined]
    name = rows[0]["record"]  # type: ignore[index]
    assert "value" not in lethe.json("quarantine", "show", name)  # type: ignore[operator]
    lethe("quarantine", "show", name, "--reveal", status=2)
    shown = lethe.json("quarantine", "show", name, "--reveal", "--case", "Q", "--purpose", "mend")
    lines = (lethe.home / "records.ndjson").read_bytes().split(b"\n")
    line = lines[int(name.split("/")[2])].decode("utf-8", "backslashreplace")
    assert shown["value"] == line  # type: ignore[index]
    lethe("quarantine", "show", "nowhere/0/1", status=1)
    lethe("quarantine", "show", "not a record", status=1)


def test_keys_are_listed_with_their_end(lethe: Lethe) -> None:
    keys = lethe.json("keys", "list")
    assert {k["state"] for k in keys} == {"live"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "arguments",
    [(), ("nope",), ("lookup",), ("lookup", "1"), ("lookup", "1", "--case", " ", "--purpose", "x"),
     ("ingest", "x"), ("generate",), ("sql",), ("quarantine",), ("worker", "--nope"),
     ("generate", "--format", "nope/nope", "--count", "1", "--seed", "1")],
)  # fmt: skip
def test_wrong_usage_is_status_2(lethe: Lethe, arguments: tuple[str, ...]) -> None:
    lethe(*arguments, status=2)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("lookpu", "x"), 2, "did you mean lookup?"),
        (("quarantine", "lst"), 2, "did you mean list?"),
        (("quarantine", "zzz"), 2, "There is no such command; there are list, replay, show."),
        (("generate", "--format", "infobip/sms-report", "--count", "-1"), 2, "from 0 to 1,000,000,000 is needed"),
        (("quarantine", "list", "--limit", "0"), 2, "a number from 1 to 100,000 is needed"),
        (("ingest", "records.ndjson", "--format", "infobip/sms-reprot"), 1, "did you mean infobip/sms-report?"),
        (("ingest", "records.ndjson", "--format", "nope/nope"), 1, "known formats: 8x8/sms-report"),
        (("quarantine", "list", "--reason", "not_jsn"), 2, "did you mean not_json?"),
        (("quarantine", "replay", "--reason", "zzz"), 2, "nothing is rejected for that reason; there are "),
        (("sql", " "), 2, "a statement is needed"),
    ],
)  # fmt: skip
def test_who_mistypes_is_told_what_there_is(
    lethe: Lethe, arguments: tuple[str, ...], status: int, said: str
) -> None:
    lethe(*arguments, status=status)
    assert said in " ".join(lethe.errors.split())


def test_a_stream_that_is_not_there_is_told_beside_those_that_are(lethe: Lethe) -> None:
    (stream,) = {row["stream"] for row in json.loads(lethe("--json", "ledger"))}
    said = " ".join(lethe("ledger", "--stream", "nope").split())
    assert f"There is no commit of that stream; there are {stream}." in said


def test_an_option_that_is_not_there_is_named_beside_those_that_are(lethe: Lethe) -> None:
    """Unless what was typed may be a number or an address."""
    lethe("lookup", "x", "--verbose", "y", status=2)
    said = " ".join(lethe.errors.split())
    assert "There is no such option --verbose; there are --case, --help, --hold, --law, --purpose" in said
    for typed in ("--+923001234567", "-923001234567", "--jane.doe@example.com"):
        lethe("lookup", typed, status=2)
        assert "There is no such option; there are --case" in " ".join(lethe.errors.split())
        assert typed.lstrip("-+") not in lethe.errors


def test_every_command_has_help_with_an_example(lethe: Lethe) -> None:
    for command in ("worker", "ingest", "generate", "lookup", "sql", "ledger", "doctor", "demo"):
        assert "Example: lethe " in " ".join(lethe(command, "--help").split())


def test_the_same_seed_gives_the_same_bytes(lethe: Lethe) -> None:
    ask = ("generate", "--format", "infobip/email-report", "--count", "50", "--seed")
    assert lethe(*ask, "9") == lethe(*ask, "9")
    assert lethe(*ask, "9") != lethe(*ask, "10")


def test_wrong_configuration_is_one_line(lethe: Lethe) -> None:
    lethe("keys", "list", status=1, LETHE_NO_SUCH="1")
    assert "LETHE_NO_SUCH" in lethe.errors
    lethe("keys", "list", status=1, LETHE_FLUSH__SECONDS="soon")
    assert "flush.seconds" in lethe.errors
    assert "soon" not in lethe.errors
    lethe("--config", "missing.toml", "keys", "list", status=1)
    (lethe.home / "bad.toml").write_text("colour = 1")
    lethe("--config", "bad.toml", "keys", "list", status=1)
    assert "colour" in lethe.errors
    lethe("keys", "list", status=1, LETHE_KEYS_DIR=str(lethe.home / "warehouse" / "keys"))
    assert "inside the warehouse" in lethe.errors


def test_a_missing_key_directory_is_not_made_anew(lethe: Lethe) -> None:
    lethe(
        "lookup",
        "1234567",
        "--case",
        "C",
        "--purpose",
        "p",
        status=1,
        LETHE_KEYS_DIR=str(lethe.home / "gone"),
    )
    assert "is missing, but the warehouse has keys" in lethe.errors
    assert not (lethe.home / "gone").exists()


def test_an_unreachable_broker_is_one_line(lethe: Lethe) -> None:
    lethe("worker", "--stop-at-end", status=1)
    assert "no answer from the broker" in lethe.errors
    lethe("doctor", status=1)


def test_sql_is_written_as_it_comes(lethe: Lethe, tmp_path: Path) -> None:
    count = lethe.json("sql", "SELECT count(*) AS n FROM metadata")[0]["n"]  # type: ignore[index]
    everything = 'SELECT * FROM metadata ORDER BY stream, "offset", "index"'
    rows = list(csv.DictReader(lethe("sql", everything).splitlines()))
    assert len(rows) == count
    assert {len(r["integrity_hash"]) for r in rows} <= {0, 64}
    for form in ("csv", "json", "parquet"):
        out = tmp_path / f"rows.{form}"
        assert lethe.json("sql", everything, "--out", str(out)) == {"rows": count, "file": str(out)}
        lethe("sql", everything, "--out", str(out), status=2)
    assert list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines())) == rows
    as_json = json.loads((tmp_path / "rows.json").read_bytes())
    assert [r["offset"] for r in as_json] == [int(r["offset"]) for r in rows]
    assert pq.read_table(tmp_path / "rows.parquet").num_rows == count
    assert lethe.json("sql", "SELECT * FROM metadata WHERE false") == []
    lethe("sql", "SELECT error('later') FROM metadata", "--out", str(tmp_path / "half.csv"), status=1)
    assert not (tmp_path / "half.csv").exists()
    table = lethe(
        "sql", "SELECT 2026 AS year, year(event_time) AS y, [1, 2] AS l FROM metadata", "--format", "table"
    )
    assert "2026" in table
    assert "2,026" not in table


@pytest.mark.parametrize(
    "function",
    ["read_text('{f}')", "read_blob('{f}')", "read_csv('{f}')", "read_csv_auto('{f}')", "read_json('{f}')",
     "read_json_auto('{f}')", "read_ndjson('{f}')", "read_parquet('{f}')", "parquet_scan('{f}')", "glob('{f}')",
     "sniff_csv('{f}')", "parquet_metadata('{f}')", "parquet_schema('{f}')", "'{f}'", "read_json_objects('{f}')",
     "delta_scan('{f}')", "arrow_scan('{f}')", "query('select 1 from ''{f}''')"],
)  # fmt: skip
def test_no_function_of_sql_reads_a_file(lethe: Lethe, tmp_path: Path, function: str) -> None:
    """To be read with each upgrade of DuckDB, which adds such functions."""
    secret = tmp_path / "secret.csv"
    secret.write_text("column\nnobody-may-read-this\n")
    with pytest.raises(LetheError, match=r"^sql: ") as refused:
        archive.query(lethe.runtime, f"SELECT * FROM {function.format(f=secret)}")
    assert "nobody-may-read-this" not in str(refused.value)


@pytest.mark.parametrize(
    "statement",
    ["COPY metadata TO '{f}'", "COPY (SELECT 1) TO '{f}' (FORMAT parquet)", "EXPORT DATABASE '{f}'", "ATTACH '{f}'",
     "CREATE TABLE t AS SELECT * FROM '{f}'", "LOAD httpfs",
     "PRAGMA enable_external_access=true", "RESET lock_configuration"],
)  # fmt: skip
def test_no_statement_of_sql_writes_a_file(lethe: Lethe, tmp_path: Path, statement: str) -> None:
    with pytest.raises(LetheError, match=r"^sql: "):
        archive.query(lethe.runtime, statement.format(f=tmp_path / "written"))
    assert not (tmp_path / "written").exists()


def test_lists_are_answered_in_csv(lethe: Lethe, record: dict[str, object]) -> None:
    ask = ("lookup", str(record["to"]), "--case", "C", "--purpose", "p")
    for command in (ask, ("quarantine", "list"), ("ledger",)):
        rows = list(csv.DictReader(lethe("--csv", *command).splitlines()))
        assert len(rows) == len(lethe.json(*command))  # type: ignore[arg-type]
        assert rows
    lethe("--csv", "ledger", "--check", status=2)
    assert lethe("--csv", "export", str(record["to"])).startswith("record,event_time")
