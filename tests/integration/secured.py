"""What an installation is told to log in to each listener of a secured Kafka."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

from lethe.testing.brokers.kafka.secured import KEY_PASSWORD, PASSWORD, USER, SecuredKafka


def least_rights(group: str, *topics: str) -> list[tuple[str, str, str]]:
    """What docs/kafka.md says a worker needs: (resource, name, operation)."""
    return [
        *(("TOPIC", topic, "READ") for topic in topics),
        ("GROUP", group, "READ"),
        ("TOPIC", "lethe.requests", "READ"),
        ("TOPIC", "lethe.responses", "WRITE"),
        ("TOPIC", f"{group}-control-__assignor-__leader", "READ"),
        ("GROUP", f"{group}-control", "READ"),
    ]


def unsigned_token(subject: str, seconds: float = 3_600) -> str:
    """A token as the test broker's validator takes it: not signed."""
    now = time.time()

    def part(value: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none'})}.{part({'sub': subject, 'iat': now - 5, 'exp': now + seconds})}."


def log_in(secured: SecuredKafka, way: str, folder: Path) -> dict[str, str]:
    """The settings of one way to log in; secrets go into files under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "password").write_text(PASSWORD + "\n")
    (folder / "key-password").write_text(KEY_PASSWORD + "\n")
    (folder / "token").write_text(unsigned_token(USER))
    ca = {"SSL_CA_FILE": str(secured.authority.file)}
    user = {"SASL_USERNAME": USER, "SASL_PASSWORD_FILE": str(folder / "password")}
    plain, tls = {"SECURITY_PROTOCOL": "SASL_PLAINTEXT"}, {"SECURITY_PROTOCOL": "SASL_SSL", **ca}
    certificate, key = secured.authority.issue("client", password=KEY_PASSWORD)
    listener, chosen = {
        "TLS": ("TLS", {"SECURITY_PROTOCOL": "SSL", **ca}),
        "mutual TLS": (
            "MUTUAL",
            {"SECURITY_PROTOCOL": "SSL", **ca, "SSL_CERTIFICATE_FILE": str(certificate), "SSL_KEY_FILE": str(key),
             "SSL_KEY_PASSWORD_FILE": str(folder / "key-password")},
        ),
        "PLAIN": ("SASL", {**plain, "SASL_MECHANISM": "PLAIN", **user}),
        "SCRAM-SHA-256": ("SASL", {**plain, "SASL_MECHANISM": "SCRAM-SHA-256", **user}),
        "SCRAM-SHA-512 over TLS": ("BOTH", {**tls, "SASL_MECHANISM": "SCRAM-SHA-512", **user}),
        "OAUTHBEARER over TLS": (
            "BOTH", {**tls, "SASL_MECHANISM": "OAUTHBEARER", "OAUTH_TOKEN_FILE": str(folder / "token")}
        ),
    }[way]  # fmt: skip
    return {
        "LETHE_BOOTSTRAP": secured.address(listener),
        **{f"LETHE_KAFKA__{n}": v for n, v in chosen.items()},
    }
