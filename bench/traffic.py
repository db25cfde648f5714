"""The traffic of the benchmark: seeded SMS delivery reports of about 570 bytes, and their way into a topic.

The same (seed, count, end) always gives the same bytes, so two runs on two machines work on the same records.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from confluent_kafka import KafkaError, Message, Producer

PAKISTAN_SHARE = 0.10
_SPACING_MS = 5  # between two reports: 200 records/s of one busy sender, a backlog of hours at a million
_BULK_SIZE = 40  # messages sent by one API request share their bulk id

# Country code, digits after it, MCC+MNC, price per message, currency. Pakistan's mobile numbers start with 3.
_PAKISTAN = [("923", 9, mnc, "0.021", "EUR") for mnc in ("41001", "41003", "41004", "41006", "41007")]
_ELSEWHERE = [
    ("4479", 8, "23410", "0.0395", "EUR"),
    ("4915", 9, "26201", "0.0712", "EUR"),
    ("3859", 8, "21910", "0.0268", "EUR"),
    ("9198", 8, "40445", "0.0042", "EUR"),
    ("5511", 9, "72406", "0.0135", "USD"),
    ("6281", 9, "51010", "0.0241", "USD"),
    ("2348", 9, "62130", "0.0187", "USD"),
    ("4176", 7, "22801", "0.0448", "EUR"),
]

_DELIVERED = (
    '"status":{"groupId":3,"groupName":"DELIVERED","id":5,"name":"DELIVERED_TO_HANDSET",'
    '"description":"Message delivered to handset"},'
    '"error":{"groupId":0,"groupName":"OK","id":0,"name":"NO_ERROR",'
    '"description":"No Error","permanent":false}'
)
_UNDELIVERABLE = (
    '"status":{"groupId":2,"groupName":"UNDELIVERABLE","id":9,"name":"UNDELIVERABLE_NOT_DELIVERED",'
    '"description":"Message sent not delivered"},'
    '"error":{"groupId":1,"groupName":"HANDSET_ERRORS","id":1,"name":"EC_UNKNOWN_SUBSCRIBER",'
    '"description":"Unknown Subscriber","permanent":true}'
)
_EXPIRED = (
    '"status":{"groupId":4,"groupName":"EXPIRED","id":15,"name":"EXPIRED_EXPIRED",'
    '"description":"Message expired"},'
    '"error":{"groupId":1,"groupName":"HANDSET_ERRORS","id":27,"name":"EC_ABSENT_SUBSCRIBER",'
    '"description":"Absent Subscriber","permanent":false}'
)
_OUTCOMES = [_DELIVERED] * 92 + [_UNDELIVERABLE] * 5 + [_EXPIRED] * 3
_SENDERS = [f"{brand}{n}" for brand in ("Bank", "Shop", "Taxi", "Pay", "Post") for n in range(1, 41)]
# `platform` is there only for senders who set it up: half of the traffic does without.
_PLATFORMS = [
    "",
    '"platform":{"entityId":"retail","applicationId":"otp"},',
    "",
    '"platform":{"entityId":"retail","applicationId":"parcels"},',
]


def reports(count: int, *, seed: int = 1, end_ms: int) -> Iterator[bytes]:
    """Yield `count` reports, oldest first, the last one sent `_SPACING_MS` before `end_ms` (Unix, UTC)."""
    rng = random.Random(seed)
    bits, draw = rng.getrandbits, rng.random
    start_ms = end_ms - count * _SPACING_MS
    bulk = ""
    for n in range(count):
        if n % _BULK_SIZE == 0:
            bulk = f"{(start_ms + n * _SPACING_MS) // 1000}{bits(16) % 1000:03d}"
        routes = _PAKISTAN if draw() < PAKISTAN_SHARE else _ELSEWHERE
        prefix, digits, network, price, currency = routes[bits(16) % len(routes)]
        h = f"{bits(128):032x}"
        sent_ms = start_ms + n * _SPACING_MS
        yield (
            f'{{"bulkId":"{bulk}","messageId":"{h[:8]}-{h[8:12]}-4{h[13:16]}-a{h[17:20]}-{h[20:]}",'
            f'"to":"{prefix}{bits(40) % 10**digits:0{digits}d}",'
            f'"sender":"{_SENDERS[bits(16) % len(_SENDERS)]}",'
            f'"sentAt":"{_timestamp(sent_ms)}","doneAt":"{_timestamp(sent_ms + 900 + bits(12))}",'
            f'"messageCount":{1 + (bits(3) == 0)},"mccMnc":"{network}","callbackData":"o-{bits(24):08d}",'
            f'{_PLATFORMS[bits(2)]}"price":{{"pricePerMessage":{price},"currency":"{currency}"}},'
            f"{_OUTCOMES[bits(16) % 100]}}}"
        ).encode()


def produce(
    bootstrap: str,
    topic: str,
    count: int,
    *,
    partitions: int,
    seed: int = 1,
    end_ms: int,
    compression: str = "none",
) -> int:
    """Write `count` reports to the existing `topic`, dealt out evenly; return their bytes in total.

    Raises `RuntimeError` if the broker did not take every one of them.
    """
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 50,
            "batch.num.messages": 10_000,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 200_000,
            "compression.type": compression,
            "acks": "all",
        }
    )
    refused: list[KafkaError] = []

    def report_only_failures(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            refused.append(error)

    total = 0
    for n, value in enumerate(reports(count, seed=seed, end_ms=end_ms)):
        total += len(value)
        while True:
            try:
                producer.produce(topic, value, partition=n % partitions, on_delivery=report_only_failures)
                break
            except BufferError:  # the queue is full: let the broker catch up
                producer.poll(0.05)
        if n % 10_000 == 0:
            producer.poll(0)
    left = producer.flush(120)
    if left or refused:
        why = f": {refused[0]}" if refused else ""
        raise RuntimeError(f"the broker did not take {left + len(refused)} of {count} records{why}")
    return total


_seconds: dict[int, str] = {}


def _timestamp(ms: int) -> str:
    """Return Infobip's form, `2019-11-09T16:00:00.000+0000`."""
    second, rest = divmod(ms, 1000)
    text = _seconds.get(second)
    if text is None:  # neighbours share their second: formatting each one would be a third of the time
        if len(_seconds) > 10_000:
            _seconds.clear()
        text = _seconds[second] = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest:03d}+0000"


def main() -> None:
    """Fill a topic that exists: `python -m bench.traffic --bootstrap 127.0.0.1:9092 --topic reports`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--end-ms", type=int, default=None, help="time of the newest report; now by default")
    parser.add_argument("--compression", default="none", choices=("none", "lz4", "zstd", "snappy", "gzip"))
    options = parser.parse_args()
    end_ms = options.end_ms if options.end_ms is not None else time.time_ns() // 1_000_000
    started = time.perf_counter()
    total = produce(
        options.bootstrap,
        options.topic,
        options.count,
        partitions=options.partitions,
        seed=options.seed,
        end_ms=end_ms,
        compression=options.compression,
    )
    seconds = time.perf_counter() - started
    print(
        f"{options.count:,} records of {total / options.count:.0f} bytes in {seconds:.1f} s"
        f" ({options.count / seconds:,.0f} records/s), newest at {end_ms} ms"
    )


if __name__ == "__main__":
    main()
