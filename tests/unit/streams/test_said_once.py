"""The log of a worker: what the broker's libraries repeat is said once."""

from __future__ import annotations

import logging

from lethe.streams.worker.logs import SayOnce


def line(name: str, text: str) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, text, (), None)


def test_a_line_that_differs_only_in_its_numbers_is_said_once_in_a_while() -> None:
    now = [0.0]
    once = SayOnce(60, lambda: now[0])
    text = "FAIL: Connect to 127.0.0.1:9092 failed (after {}ms)"
    passed = []
    for number in range(300):
        now[0] = number / 2
        record = line("librdkafka", text.format(number))
        if once.filter(record):
            passed.append(record.getMessage())
    assert len(passed) == 3
    assert passed[1].endswith("(after 120ms) (and 119 more like it)")
    assert once.filter(line("librdkafka", "another one"))
    assert all(once.filter(line("lethe.feed", "the same")) for _ in range(5)), "our own are never held back"
