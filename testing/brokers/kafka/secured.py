"""A Kafka node as it is secured: a listener for each way to log in, an authorizer, and certificates that are wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.admin._scram import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from lethe.testing.brokers.kafka.certificates import Authority
from lethe.testing.brokers.kafka.cluster import KafkaCluster
from lethe.testing.brokers.kafka.node import Address
from lethe.testing.brokers.process import LOOPBACK, free_ports

USER: Final = "lethe"
PASSWORD: Final = "correct horse"  # noqa: S105  (of a broker that lives for a test)
KEY_PASSWORD: Final = "battery staple"  # noqa: S105

_MODULE: Final = "org.apache.kafka.common.security"
_LISTENERS: Final = {
    "TLS": "SSL",
    "MUTUAL": "SSL",
    "EXPIRED": "SSL",
    "ELSEWHERE": "SSL",  # its certificate is another host's
    "SASL": "SASL_PLAINTEXT",
    "BOTH": "SASL_SSL",
}
_ANSWER_SECONDS: Final = 10.0


class SecuredKafka:
    """One node with every listener, from `start` (or `with`) to `stop`. Its plain listener is the tests' own: whoever
    comes in there may do everything, everybody else what `allow` has given."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory)
        self.stranger = Authority(directory, "other-ca")
        self._ports = dict(zip(_LISTENERS, free_ports(len(_LISTENERS)), strict=True))
        self.authority.issue("broker")
        self.authority.issue("expired", expired=True)
        self.authority.issue("elsewhere", host="kafka.example.org")
        self.certificate, self.key = self.authority.issue(USER)
        self.cluster = KafkaCluster(1, more=self._settings)
        self._admin: AdminClient | None = None

    def start(self) -> Self:
        """Start the node and make the user."""
        self.cluster.start()
        self._admin = AdminClient({"bootstrap.servers": self.cluster.bootstrap})
        self.set_password(PASSWORD)
        return self

    def stop(self) -> None:
        """Stop the node."""
        self.cluster.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def address(self, listener: str) -> str:
        """Return `host:port` of a listener."""
        return f"{LOOPBACK}:{self._ports[listener]}"

    @property
    def admin(self) -> AdminClient:
        """Return a client that may do everything."""
        assert self._admin is not None  # noqa: S101
        return self._admin

    def set_password(self, password: str, user: str = USER) -> None:
        """Give a user a password, by SCRAM of both strengths; the old one is refused from then on."""
        changes = [
            UserScramCredentialUpsertion(user, ScramCredentialInfo(mechanism, 4096), password.encode())
            for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)
        ]
        for change in changes:
            for done in self.admin.alter_user_scram_credentials([change]).values():
                done.result(_ANSWER_SECONDS)

    def allow(self, rights: Iterable[tuple[str, str, str]], user: str = USER) -> None:
        """Give a user rights: (resource type, name, operation); a name that ends in `*` is a prefix."""
        self._each(self.admin.create_acls([_binding(user, *right) for right in rights]))

    def withdraw(self, rights: Iterable[tuple[str, str, str]], user: str = USER) -> None:
        """Take rights from a user that `allow` gave."""
        filters = [
            AclBindingFilter(b.restype, b.name, b.resource_pattern_type, b.principal, b.host, b.operation,
                             b.permission_type)
            for b in (_binding(user, *right) for right in rights)
        ]  # fmt: skip
        self._each(self.admin.delete_acls(filters))

    def withdraw_all(self, user: str = USER) -> None:
        """Take every right from a user."""
        anything: Any = None
        everything = AclBindingFilter(
            ResourceType.ANY, anything, ResourcePatternType.ANY, f"User:{user}", anything, AclOperation.ANY,
            AclPermissionType.ANY,
        )  # fmt: skip
        self._each(self.admin.delete_acls([everything]))

    def _each(self, futures: Mapping[Any, Any]) -> None:
        for done in futures.values():
            done.result(_ANSWER_SECONDS)

    def delete_topics(self, *names: str) -> None:
        """Delete topics that may be there."""
        for done in self.admin.delete_topics(list(names)).values():
            with contextlib.suppress(KafkaException):
                done.result(_ANSWER_SECONDS)

    def _settings(self, address: Address) -> dict[str, Any]:
        listeners = {name: f"{name}://{LOOPBACK}:{port}" for name, port in self._ports.items()}
        plain = f"PLAINTEXT://{address.bootstrap}"
        controller = f"CONTROLLER://{LOOPBACK}:{address.controller_port}"
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **_LISTENERS}
        lines: dict[str, Any] = {
            "listeners": ",".join([plain, controller, *listeners.values()]),
            "advertised.listeners": ",".join([plain, *listeners.values()]),
            "listener.security.protocol.map": ",".join(f"{n}:{p}" for n, p in protocols.items()),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]*).*$/$1/",
            "connections.max.reauth.ms": 0,
        }
        folder = self.authority.directory
        for name, protocol in _LISTENERS.items():
            at = f"listener.name.{name.lower()}."
            if protocol.endswith("SSL"):
                holder = name.lower() if name in ("EXPIRED", "ELSEWHERE") else "broker"
                lines[at + "ssl.keystore.type"] = lines[at + "ssl.truststore.type"] = "PEM"
                lines[at + "ssl.keystore.location"] = folder / f"{holder}.both.pem"
                lines[at + "ssl.truststore.location"] = self.authority.file
                lines[at + "ssl.client.auth"] = "required" if name == "MUTUAL" else "none"
            if protocol.startswith("SASL"):
                lines[at + "sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER"
                lines[at + "plain.sasl.jaas.config"] = (
                    f'{_MODULE}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
                )
                for scram in ("scram-sha-256", "scram-sha-512"):
                    lines[at + f"{scram}.sasl.jaas.config"] = f"{_MODULE}.scram.ScramLoginModule required;"
                lines[at + "oauthbearer.sasl.jaas.config"] = (
                    f"{_MODULE}.oauthbearer.OAuthBearerLoginModule required "
                    'unsecuredLoginStringClaim_sub="nobody";'
                )
                lines[at + "oauthbearer.sasl.server.callback.handler.class"] = (
                    f"{_MODULE}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
                )
        return lines


def _binding(user: str, kind: str, name: str, operation: str) -> AclBinding:
    prefix = len(name) > 1 and name.endswith("*")
    pattern = ResourcePatternType.PREFIXED if prefix else ResourcePatternType.LITERAL
    # The library calls the cluster "broker".
    resource = ResourceType["BROKER" if kind == "CLUSTER" else kind]
    return AclBinding(
        resource, name[:-1] if prefix else name, pattern, f"User:{user}", "*", AclOperation[operation],
        AclPermissionType.ALLOW,
    )  # fmt: skip
