"""What is said of a control side that ended: its own library's class of error alone would help nobody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lethe.operations.settings import Settings
from lethe.schemas.errors import TransientError
from lethe.streams.worker._control_side import ControlSide

# In a process of its own: Faust leaves sockets and event loops behind.
RUN = """
import asyncio, logging, sys, time
from pathlib import Path
from lethe.operations.settings import Kafka, Settings
from lethe.streams.worker._control_side import ControlSide

logging.basicConfig(stream=sys.stdout, format="%(name)s %(message)s")
said = []
logging.getLogger("lethe.control").addFilter(lambda record: said.append(record) or True)
kafka = Kafka(security_protocol="SSL", ssl_ca_file=Path(sys.argv[1])) if sys.argv[1:] else Kafka()
begun = []
side = ControlSide(Settings(bootstrap="127.0.0.1:1", kafka=kafka), lambda _: begun.append(time.monotonic()))
until = time.monotonic() + 200
enough = (lambda: said) if sys.argv[1:] else (lambda: len(begun) > 1)
asyncio.new_event_loop().run_until_complete(side.run(lambda: bool(enough()) or time.monotonic() > until))
print("tries", len(begun), "pause", begun[1] - begun[0] >= 5 if len(begun) > 1 else None)
"""


def run(*arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments], capture_output=True, text=True, timeout=240, check=True
    )
    return [line for line in done.stdout.splitlines() if line.startswith(("lethe.control", "tries"))]


def test_why_it_ended_is_said_as_the_feed_says_it_and_once() -> None:
    assert run() == [
        "lethe.control the control side ended: no answer from the broker at 127.0.0.1:1 (Connect to ipv4#127.0.0.1:1 "
        "failed: Connection refused); is it running, is `bootstrap` right?; it is tried again, records go on meanwhile",
        "tries 2 pause True",
    ]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (said, _) = run(str(tmp_path / "nowhere.pem"))
    assert "nowhere.pem: No such file or directory; it is tried again" in said


def test_what_ended_it_in_our_own_words_is_said_in_them() -> None:
    """A sweep ends the application when the store does not answer; the name of the error's class says nothing."""
    side = ControlSide(Settings(), lambda _: None)
    assert (
        side._diagnosed(TransientError("the object store does not answer"))
        == "the object store does not answer"
    )
