"""Make `log_of_replays.json`, a small log of replays with a time stamp.

It is made once and kept: what it says must stay verifiable. Keys and certificates in it are for tests alone.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parents[1] / "unit" / "integrity"))

from cryptography.hazmat.primitives.serialization import Encoding  # noqa: E402
from integrity_authority import Authority  # noqa: E402
from integrity_samples import DECLARATION, NAME, NOW, PARTITION, STREAM, row, table  # noqa: E402
from rfc3161_client import TimestampRequestBuilder  # noqa: E402

from lethe.integrity.evidence.build import row_to_json  # noqa: E402
from lethe.integrity.log.entries import LogCommit  # noqa: E402
from lethe.integrity.log.publish import publish  # noqa: E402
from lethe.integrity.log.signing import Signer  # noqa: E402
from lethe.integrity.log.stamp import stamp  # noqa: E402
from lethe.integrity.log.store import (  # noqa: E402
    REPLAYS,
    MemoryStore,
)


def main() -> None:
    """Write the file."""
    signer = Signer.generate(NAME, NOW).rotate(NOW + 1)
    rows = [
        row(n, None if n % 4 else 2) if n % 3 else row(n, integrity_hash=None, original_form=None)
        for n in (*range(3, 60), *range(100, 140))
    ]
    rows[7] = row(10, event_time=rows[7]["event_time"] + timedelta(days=40))
    store, digest = MemoryStore(), sha256(DECLARATION).digest()
    spans = [(3, 40, 7), (41, 59, 9), (100, 139, 12)]
    commits = [
        LogCommit.of(
            table(r for r in rows if first <= r["offset"] <= last),
            STREAM,
            PARTITION,
            (first, last),
            version,
            True,
            [digest],
        )
        for first, last, version in spans
    ]
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))

        def answer(data: bytes) -> bytes:
            builder = TimestampRequestBuilder().data(data).nonce(nonce=False).cert_request(cert_request=True)
            return authority.answer(builder.build().as_bytes())

        publish(store, signer, *REPLAYS, commits[:2], NOW)
        stamp(store, answer)
        publish(store, signer, *REPLAYS, commits, NOW + 60)
        roots = b"".join(root.public_bytes(Encoding.PEM) for root in authority.roots).decode()
    vectors = {
        "about": "A log of replays of three entries, two of them time-stamped: docs/integrity.md, section 5.",
        "keys": [str(key) for key in signer.history.sets[0].keys],
        "key_history": [bytes(note).decode() for note in signer.history.notes],
        "origin": f"{NAME}/=replays/0",
        "stamp_root": roots,
        "declarations": {digest.hex(): DECLARATION.decode()},
        "rows": [row_to_json(table([one])) for one in rows],
        "files": {path: base64.b64encode(data).decode() for path, data in sorted(store.objects.items())},
    }
    (HERE / "log_of_replays.json").write_text(json.dumps(vectors, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
