"""A real PostgreSQL on a socket of its own; each caller gets a database."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg


def _programs() -> Path:
    """Return where the server's programs are: Debian keeps them out of the way."""
    found = shutil.which("initdb")
    places = (
        [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    )
    if not places:
        raise RuntimeError("PostgreSQL is needed: apt-get install postgresql")
    return places[0]


@contextmanager
def server() -> Iterator[Callable[[], str]]:
    """Run a server until the block ends; gives a function that makes a new database and returns its URL."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: the path of a socket has at most 107 bytes
    programs, user = _programs(), None
    if os.geteuid() == 0:  # the server refuses root
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
    data = folder / "data"

    def run(*command: str) -> None:
        subprocess.run(
            command, check=True, capture_output=True, cwd=folder, timeout=120,
            user=None if user is None else user.pw_uid, group=None if user is None else user.pw_gid,
            extra_groups=None if user is None else [],
        )  # fmt: skip

    run(str(programs / "initdb"), "-D", str(data), "-U", "lethe", "-A", "trust", "-E", "UTF8", "--no-sync")
    options = f"-k {folder} -c listen_addresses= -c fsync=off -c shared_buffers=16MB -c max_connections=60"
    run(str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
    numbers = itertools.count()

    def database() -> str:
        name = f"lethe{next(numbers)}"
        with psycopg.connect(f"host={folder} user=lethe dbname=postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://lethe@/{name}?host={folder}"

    try:
        yield database
    finally:
        run(str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)
