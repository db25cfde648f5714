"""A program that runs tasks on a Spark cluster while its workers are killed: python spark_driver.py MASTER."""

from __future__ import annotations

import sys
import time

from lethe.operations.engines import open_engine
from lethe.schemas.errors import ConfigurationError


def slow(text: str) -> str:
    time.sleep(0.5)
    return text.upper()


def refuses(text: str) -> str:
    raise ConfigurationError(
        "a worker has the settings of another warehouse; give all of them the same lethe.toml"
    )


if __name__ == "__main__":
    engine = open_engine("spark", sys.argv[1])
    print("begun", flush=True)
    print("".join(engine.map(slow, list("abcdefghijklmnopqrstuvwx"))), flush=True)
    try:
        list(engine.map(refuses, ["a", "b"]))
    except ConfigurationError as error:
        print(error, flush=True)
    engine.close()
