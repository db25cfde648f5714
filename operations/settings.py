"""Configuration: `lethe.toml`, overridden by `LETHE_*` variables, as one typed value. Unknown keys are refused."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from lethe.operations.sections import environment as variables
from lethe.operations.sections.keys import Keys
from lethe.operations.sections.lines import LineSettings
from lethe.schemas.countries import checked
from lethe.schemas.errors import ConfigurationError
from lethe.schemas.position import STREAM_PATTERN
from lethe.schemas.retention.policy import RetentionPolicy
from lethe.schemas.sections import UNKNOWN, Problem, Secret, Section, SectionError, setting

DEFAULT_SOURCES = {
    "cdr.sms-report": "infobip/sms-report",
    "cdr.sms-inbound": "infobip/sms-inbound",
    "cdr.voice-report": "infobip/voice-report",
    "cdr.email-report": "infobip/email-report",
}

_LONGEST_ORIGIN: Final = 255
_BROKER: Final = re.compile(r"(?:[^\s:;/\[\]]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


def _words(scope: object) -> object:
    """Read `PK` and `PK,IN` as lists, in the file as in the environment."""
    if isinstance(scope, str) and scope not in ("all", "none"):
        return tuple(country.strip() for country in scope.split(","))
    return scope


def _countries(scope: str | tuple[str, ...]) -> None:
    for code in () if isinstance(scope, str) else scope:
        try:
            checked(code)
        except ValueError as error:
            raise ValueError(f"`all`, `none`, or {error}") from None


def _web(url: str | None) -> None:
    if url is not None and not url.startswith(("https://", "http://")):
        raise ValueError("an http or https URL")


def _brokers(bootstrap: object) -> object:
    """Read a list of brokers as people write it: spaces, and a comma too many."""
    if not isinstance(bootstrap, str):
        return bootstrap
    return ",".join(broker for each in bootstrap.split(",") if (broker := each.strip()))


def _addresses(bootstrap: str) -> None:
    if not all(_BROKER.fullmatch(broker) for broker in bootstrap.split(",")):
        raise ValueError("HOST:PORT, or several with commas between")


def _topics(sources: Mapping[str, str]) -> None:
    for topic in sources:
        if not STREAM_PATTERN.fullmatch(topic):
            raise ValueError("a topic is named with letters, digits, `.`, `_` and `-` (at most 249)")


class Kafka(Section):
    """How the broker is reached. Names follow librdkafka's."""

    group: str = setting(
        default="lethe", min_length=1, max_length=200, description="consumer group of the workers"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    sasl_username: str | None = None
    sasl_password: Secret | None = None
    sasl_password_file: Path | None = None
    ssl_ca_file: Path | None = None
    ssl_certificate_file: Path | None = None
    ssl_key_file: Path | None = None
    ssl_key_password: Secret | None = None
    ssl_key_password_file: Path | None = None
    oauth_token_file: Path | None = setting(
        default=None, description="a file with a token somebody else keeps fresh"
    )
    oauth_url: str | None = setting(
        default=None, check=_web, description="token service, asked with client credentials"
    )
    oauth_client_id: str | None = None
    oauth_client_secret: Secret | None = None
    oauth_client_secret_file: Path | None = None
    oauth_scope: str | None = None
    session_timeout_ms: int = setting(default=45_000, ge=1_000, le=1_800_000)
    replication: int = setting(
        default=1, ge=1, le=10, description="replicas of the topics Lethe makes for itself"
    )

    @property
    def control_group(self) -> str:
        """Name the consumer group of the control topics."""
        return f"{self.group}-control"

    def check(self) -> None:
        """Check that a log-in is complete, and that nothing is set that would not be used."""
        for name in ("sasl_password", "ssl_key_password", "oauth_client_secret"):
            if getattr(self, name) is not None and getattr(self, f"{name}_file") is not None:
                raise ValueError(f"{name} and {name}_file are both set: keep one")
        if self.ssl_key_file is not None and self.ssl_certificate_file is None:
            raise ValueError("ssl_key_file needs ssl_certificate_file")
        if not self.security_protocol.startswith("SASL"):
            if self.sasl_mechanism is not None:
                raise ValueError("sasl_mechanism needs security_protocol SASL_SSL or SASL_PLAINTEXT")
            return
        if self.sasl_mechanism is None:
            raise ValueError("sasl_mechanism is missing: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER")
        if self.sasl_mechanism == "OAUTHBEARER":
            if (self.oauth_token_file is None) == (self.oauth_url is None):
                raise ValueError("OAUTHBEARER needs either oauth_token_file or oauth_url")
        elif self.sasl_username is None or (self.sasl_password is None and self.sasl_password_file is None):
            raise ValueError("sasl_username and sasl_password (or sasl_password_file) are needed")


class Flush(Section):
    """When what is split is committed: whichever comes first."""

    records: int = setting(default=72_000, ge=1, le=20_000_000)
    seconds: float = setting(default=10.0, ge=0.05, le=3_600)
    batch: int = setting(
        default=15_000, ge=1, le=200_000, description="messages split at a time; fewer when they have 16 MB"
    )
    patience_seconds: float = setting(
        default=900.0,
        ge=0,
        description="how long a worker waits and tries again while the store refuses its commits",
    )
    megabytes: int = setting(
        default=48, ge=1, le=16_384, description="rows held in memory before a commit is due"
    )


class Integrity(Section):
    """Which records are provable."""

    scope: Literal["none", "all"] | tuple[str, ...] = setting(
        default=("PK",),
        reads=_words,
        check=_countries,
        description="`all`, `none`, or the countries whose end users' records carry integrity hashes",
    )
    log_name: str = setting(
        default="lethe",
        pattern=r"[^\s+\x00-\x1f]{1,100}",
        description="name of the log in checkpoints and keys",
    )
    timestamp_url: str | None = setting(
        default=None, check=_web, description="RFC 3161 authority; none: checkpoints are not time-stamped"
    )
    timestamp_seconds: float = setting(default=3_600.0, ge=1)
    timestamp_roots: Path | None = setting(
        default=None, description="PEM file with the root certificates of the time-stamp authority"
    )

    def check(self) -> None:
        """Check that time stamps can be verified."""
        if self.timestamp_url is not None and self.timestamp_roots is None:
            raise ValueError(
                "timestamp_url needs timestamp_roots: who it is shows in its root certificate alone"
            )


class Identity(Section):
    """The OpenID Connect provider that people of the service sign in with."""

    issuer: str = setting(pattern=r"https?://[^/?#]+[^?#]*", description="as the provider itself writes it")
    client_id: str = setting(min_length=1, max_length=255)
    client_secret_file: Path | None = setting(
        default=None, description="none: a public client, which PKCE alone protects"
    )
    scopes: tuple[str, ...] = ("openid", "profile")
    name_claim: str = setting(
        default="preferred_username",
        pattern=r"[A-Za-z0-9_]{1,60}",
        description="claim that is the account's name",
    )
    label: str = setting(
        default="single sign-on", min_length=1, max_length=40, description="what the page calls it"
    )
    ca_file: Path | None = setting(default=None, description="PEM file of the authority of its certificate")

    def check(self) -> None:
        """Check that nobody between can read or change what the provider says."""
        host = urlsplit(self.issuer).hostname
        if not self.issuer.startswith("https://") and host not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError("serve.identity.issuer begins with https://")
        if "openid" not in self.scopes:
            raise ValueError("serve.identity.scopes has `openid` in it")


class Serve(Section):
    """The service people use (`lethe serve`)."""

    host: str = setting(
        default="127.0.0.1", min_length=1, max_length=255, description="address it listens on"
    )
    port: int = setting(default=9465, ge=0, le=65_535)
    database: Secret | None = setting(
        default=None,
        description="sqlite:////FILE or postgresql+psycopg://...; default: `service.db` beside the keys",
    )
    certificate: Path | None = setting(
        default=None, description="PEM file; none: TLS ends at a proxy in front"
    )
    private_key: Path | None = None
    daily_subjects: int = setting(
        default=200, ge=1, le=100_000, description="different subjects a person looks at a day"
    )
    public_url: str | None = setting(
        default=None,
        pattern=r"https?://[^/?#]+",
        description="where people reach it, such as https://lethe.example",
    )
    identity: Identity | None = setting(
        default=None, description="an OpenID Connect provider; needs public_url"
    )
    second_factor: Literal["all", "weight", "choice"] = setting(
        default="weight",
        description="of whom a second factor is demanded: all, roles that read of persons, decide or make accounts, "
        "or nobody",
    )
    workers: tuple[str, ...] = setting(
        default=(),
        description="workers whose readiness the health page asks for, such as http://worker-1:9464",
    )
    breached_passwords: Path | None = setting(
        default=None,
        description="sorted SHA-1 digests of stolen passwords, as Have I Been Pwned publishes them",
    )

    def check(self) -> None:
        """Check that a provider knows where to send people."""
        if self.identity is not None and self.public_url is None:
            raise ValueError("serve.identity needs serve.public_url: the provider sends people back there")
        for worker in self.workers:
            parts = urlsplit(worker)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query:
                raise ValueError("serve.workers are URLs such as http://worker-1:9464, without a path")

    def url(self, keys_dir: Path) -> str:
        """Give the database's URL: the one that is set, else a file beside the key directory, never in it."""
        if self.database is not None:
            return self.database.get_secret_value()
        return f"sqlite:///{keys_dir.resolve().parent / 'service.db'}"


class Office(Section):
    """Who answers the requests of people: what the answer says of its sender."""

    controller: str = setting(
        default="", max_length=300, description="name and address of the company, as it answers"
    )
    contact: str = setting(default="", max_length=300, description="where people write to about their data")
    authority: str = setting(
        default="", max_length=300, description="supervisory authority that people may complain to"
    )


class Requests(Section):
    """Requests of persons that come as messages."""

    signed: bool = setting(
        default=True,
        description="only those signed by a registered key are done; no: any producer of the topic",
    )


class Telemetry(Section):
    """Collectors that are told how much was done and how long it took, never what."""

    traces_url: str | None = setting(
        default=None, check=_web, description="OpenTelemetry, OTLP over HTTP; none: no traces"
    )
    lineage_url: str | None = setting(
        default=None, check=_web, description="OpenLineage over HTTP; none: no events"
    )


class Limits(Section):
    """Bounds on what comes in."""

    record_bytes: int = setting(default=256 * 1024, ge=256, le=16 * 1024 * 1024)
    future_seconds: int = setting(default=86_400, ge=0, le=7 * 86_400)


class Settings(Section):
    """Everything that can be set. The environment wins over `lethe.toml`; sections are joined by `__`."""

    root: str = setting(
        default="var/warehouse", min_length=1, description="warehouse: a directory or an s3:// URL"
    )
    keys_dir: Path = setting(
        default=Path("var/keys"), description="where the key-encryption keys live; never in the warehouse"
    )
    keys_group: str | None = setting(
        default=None,
        pattern=r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,31}",
        description="system group (no person in it) of worker and service: `keys_dir` may be open to it (mode 2770), "
        "and what is made is for it, too; default: for the user alone",
    )
    keys: Keys = Keys()
    audit_dir: str | None = setting(
        default=None,
        min_length=1,
        description="audit log: a directory or an s3:// URL; default: `audit` in the key directory",
    )
    exports_dir: Path | None = setting(
        default=None,
        description="where exports asked for by message are written; default: `exports` beside the keys",
    )
    bootstrap: str = setting(default="localhost:9092", reads=_brokers, check=_addresses)
    sources: dict[str, str] = setting(
        default_factory=lambda: dict(DEFAULT_SOURCES), check=_topics, description="topic -> format"
    )
    codes: Path | None = setting(
        default=None,
        description="file of codes that name nobody, a column and a code a line: shown as they are",
    )
    lines: dict[str, LineSettings] = setting(
        default_factory=dict,
        description="source (topic, or name given to `ingest`) -> country, own_numbers, dial_prefixes, charge_basis, "
        "currency",
    )
    residence: Path | None = setting(
        default=None,
        description="file that says of accounts, domains, address ranges and subjects in which country they are",
    )
    formats_dir: Path | None = setting(
        default=None, description="declarations of formats of your own (*.toml)"
    )
    registry_url: str | None = setting(
        default=None, description="schema registry of Avro and Protobuf values"
    )
    kafka: Kafka = Kafka()
    flush: Flush = Flush()
    integrity: Integrity = Integrity()
    retention: RetentionPolicy = RetentionPolicy()
    limits: Limits = Limits()
    serve: Serve = Serve()
    office: Office = Office()
    requests: Requests = Requests()
    telemetry: Telemetry = Telemetry()
    metrics_port: int = setting(
        default=9464, ge=0, le=65_535, description="/metrics, /live, /ready; 0: a free port"
    )
    metrics_host: str = "127.0.0.1"
    log_level: Literal["DEBUG", "INFO", "WARN", "ERROR"] = "INFO"
    threads: int = setting(default=1, ge=1, le=64, description="loads split at the same time")
    storage: dict[str, Secret] = setting(
        default_factory=dict, description="object-store options, such as endpoints"
    )

    def check(self) -> None:
        """Check that the names of logs fit: `<log_name>/<stream>/<partition>`, and `~2` behind a topic made again."""
        for topic in self.sources:
            if len(f"{self.integrity.log_name}/{topic}~999/99999".encode()) > _LONGEST_ORIGIN:
                raise ValueError(f"integrity.log_name and the topic {topic} are too long together")

    _read: Callable[[], Settings] | None = None

    def read_again(self) -> Settings:
        """Return the settings as they are by now, if they were read from file and environment; else these."""
        return self if self._read is None else self._read()

    @property
    def line_countries(self) -> tuple[str, ...]:
        """The countries of lines, under which national numbers are read; each once."""
        return tuple(sorted({line.country for line in self.lines.values() if line.country is not None}))


def load(path: Path | None = None, environment: dict[str, str] | None = None) -> Settings:
    """Read `lethe.toml` (or `path`, or `$LETHE_CONFIG`) and the environment.

    Raises `ConfigurationError` naming every key that is wrong and what is wrong with it, never a value.
    """
    env = dict(os.environ if environment is None else environment)
    named = path or (Path(env["LETHE_CONFIG"]) if env.get("LETHE_CONFIG") else None)
    file = named or Path("lethe.toml")
    written = _read(file) if named or file.exists() else {}
    values, problems = variables.overlay(Settings, written, env)
    try:
        settings = Settings(**values)
    except SectionError as error:
        problems += [_told(one, file, env) for one in error.problems]
    if problems:
        raise ConfigurationError(
            "; ".join(["configuration: " + problems[0], *problems[1:], "see docs/configuration.md"])
        )
    settings.__dict__["_read"] = partial(load, path, environment)
    return settings


def _told(problem: Problem, file: Path, env: Mapping[str, str]) -> str:
    """Say of one key where it is set and what is wrong with it."""
    keys = [key for key in problem[0] if re.fullmatch(r"[\w.~-]+", key)]
    what = problem[1]
    if what is UNKNOWN and keys:
        what += variables.nearest(keys[-1], variables.siblings(Settings, keys))
    if not keys:
        return what
    set_by = [variables.variable(".".join(keys[:depth])) for depth in range(len(keys), 0, -1)]
    where = next((name for name in set_by if name in env), str(file))
    return f"{'.'.join(keys)} ({where}): {what}"


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}; give the right path with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: not TOML: {error}") from None
