"""Configuration: `lethe.toml`, overridden by `LETHE_*` variables, as one typed value. Unknown keys are refused."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from lethe.operations import environment as variables
from lethe.operations.key_settings import Keys
from lethe.operations.lines import LineSettings
from lethe.schemas.errors import ConfigurationError
from lethe.schemas.position import STREAM_PATTERN
from lethe.schemas.retention.policy import RetentionPolicy

DEFAULT_SOURCES = {
    "cdr.sms-report": "infobip/sms-report",
    "cdr.sms-inbound": "infobip/sms-inbound",
    "cdr.voice-report": "infobip/voice-report",
    "cdr.email-report": "infobip/email-report",
}

_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_LONGEST_ORIGIN: Final = 255


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)  # built once, within `Settings`


class Kafka(_Section):
    """How the broker is reached. Names follow librdkafka's."""

    group: str = Field("lethe", min_length=1, max_length=200, description="consumer group of the workers")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    sasl_password_file: Path | None = None
    ssl_ca_file: Path | None = None
    ssl_certificate_file: Path | None = None
    ssl_key_file: Path | None = None
    ssl_key_password: SecretStr | None = None
    ssl_key_password_file: Path | None = None
    oauth_token_file: Path | None = Field(None, description="a file with a token somebody else keeps fresh")
    oauth_url: str | None = Field(None, description="token service, asked with client credentials")
    oauth_client_id: str | None = None
    oauth_client_secret: SecretStr | None = None
    oauth_client_secret_file: Path | None = None
    oauth_scope: str | None = None
    session_timeout_ms: int = Field(45_000, ge=1_000, le=1_800_000)
    replication: int = Field(1, ge=1, le=10, description="replicas of the topics Lethe makes for itself")

    @property
    def control_group(self) -> str:
        """Name the consumer group of the control topics."""
        return f"{self.group}-control"

    @model_validator(mode="after")
    def _log_in(self) -> Self:
        """Check that a log-in is complete, and that nothing is set that would not be used."""
        for name in ("sasl_password", "ssl_key_password", "oauth_client_secret"):
            if getattr(self, name) is not None and getattr(self, f"{name}_file") is not None:
                raise ValueError(f"{name} and {name}_file are both set: keep one")
        if self.ssl_key_file is not None and self.ssl_certificate_file is None:
            raise ValueError("ssl_key_file needs ssl_certificate_file")
        if not self.security_protocol.startswith("SASL"):
            if self.sasl_mechanism is not None:
                raise ValueError("sasl_mechanism needs security_protocol SASL_SSL or SASL_PLAINTEXT")
            return self
        if self.sasl_mechanism is None:
            raise ValueError("sasl_mechanism is missing: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER")
        if self.sasl_mechanism == "OAUTHBEARER":
            if (self.oauth_token_file is None) == (self.oauth_url is None):
                raise ValueError("OAUTHBEARER needs either oauth_token_file or oauth_url")
            if self.oauth_url is not None and not self.oauth_url.startswith(("https://", "http://")):
                raise ValueError("oauth_url is an https or http URL")
        elif self.sasl_username is None or (self.sasl_password is None and self.sasl_password_file is None):
            raise ValueError("sasl_username and sasl_password (or sasl_password_file) are needed")
        return self


class Flush(_Section):
    """When what is split is committed: whichever comes first."""

    records: int = Field(72_000, ge=1, le=20_000_000)
    seconds: float = Field(10.0, ge=0.05, le=3_600)
    batch: int = Field(
        15_000, ge=1, le=200_000, description="messages split at a time; fewer when they have 16 MB"
    )
    patience_seconds: float = Field(
        900.0, ge=0, description="how long a worker waits and tries again while the store refuses its commits"
    )
    megabytes: int = Field(48, ge=1, le=16_384, description="rows held in memory before a commit is due")


class Integrity(_Section):
    """Which records are provable."""

    scope: Literal["none", "all"] | tuple[str, ...] = Field(
        ("PK",), description="`all`, `none`, or the countries whose end users' records carry integrity hashes"
    )
    log_name: str = Field(
        "lethe", pattern=r"^[^\s+\x00-\x1f]{1,100}$", description="name of the log in checkpoints and keys"
    )
    timestamp_url: str | None = Field(
        None, description="RFC 3161 authority; none: checkpoints are not time-stamped"
    )
    timestamp_seconds: float = Field(3_600.0, ge=1)
    timestamp_roots: Path | None = Field(
        None, description="PEM file with the root certificates of the time-stamp authority"
    )

    @field_validator("scope", mode="before")
    @classmethod
    def _words(cls, scope: object) -> object:
        """Read `PK` and `PK,IN` as lists, in the file as in the environment."""
        if isinstance(scope, str) and scope not in ("all", "none"):
            return tuple(country.strip() for country in scope.split(","))
        return scope

    @field_validator("scope")
    @classmethod
    def _countries(cls, scope: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not isinstance(scope, str) and not all(_COUNTRY.fullmatch(c) for c in scope):
            raise ValueError("`all`, `none`, or ISO 3166 alpha-2 codes such as PK or PK,IN")
        return scope

    @model_validator(mode="after")
    def _authority(self) -> Self:
        if self.timestamp_url is not None:
            if not self.timestamp_url.startswith(("https://", "http://")):
                raise ValueError("timestamp_url is an http or https URL")
            if self.timestamp_roots is None:
                raise ValueError(
                    "timestamp_url needs timestamp_roots: who it is shows in its root certificate alone"
                )
        return self


class Identity(_Section):
    """The OpenID Connect provider that people of the service sign in with."""

    issuer: str = Field(pattern=r"^https?://[^/?#]+[^?#]*$", description="as the provider itself writes it")
    client_id: str = Field(min_length=1, max_length=255)
    client_secret_file: Path | None = Field(
        None, description="none: a public client, which PKCE alone protects"
    )
    scopes: tuple[str, ...] = ("openid", "profile")
    name_claim: str = Field(
        "preferred_username", pattern=r"^[A-Za-z0-9_]{1,60}$", description="claim that is the account's name"
    )
    label: str = Field("single sign-on", min_length=1, max_length=40, description="what the page calls it")
    ca_file: Path | None = Field(None, description="PEM file of the authority of its certificate")

    @model_validator(mode="after")
    def _secure(self) -> Self:
        host = urlsplit(self.issuer).hostname
        if not self.issuer.startswith("https://") and host not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError("serve.identity.issuer begins with https://")
        if "openid" not in self.scopes:
            raise ValueError("serve.identity.scopes has `openid` in it")
        return self


class Serve(_Section):
    """The service people use (`lethe serve`)."""

    host: str = Field("127.0.0.1", min_length=1, max_length=255, description="address it listens on")
    port: int = Field(9465, ge=0, le=65_535)
    database: SecretStr | None = Field(
        None, description="sqlite:////FILE or postgresql+psycopg://...; default: `service.db` beside the keys"
    )
    certificate: Path | None = Field(None, description="PEM file; none: TLS ends at a proxy in front")
    private_key: Path | None = None
    daily_subjects: int = Field(
        200, ge=1, le=100_000, description="different subjects a person looks at a day"
    )
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[^/?#]+$",
        description="where people reach it, such as https://lethe.example",
    )
    identity: Identity | None = Field(None, description="an OpenID Connect provider; needs public_url")

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.identity is not None and self.public_url is None:
            raise ValueError("serve.identity needs serve.public_url: the provider sends people back there")
        return self

    def url(self, keys_dir: Path) -> str:
        """Give the database's URL: the one that is set, else a file beside the key directory, never in it."""
        if self.database is not None:
            return self.database.get_secret_value()
        return f"sqlite:///{keys_dir.resolve().parent / 'service.db'}"


class Office(_Section):
    """Who answers the requests of people: what the answer says of its sender."""

    controller: str = Field("", max_length=300, description="name and address of the company, as it answers")
    contact: str = Field("", max_length=300, description="where people write to about their data")
    authority: str = Field(
        "", max_length=300, description="supervisory authority that people may complain to"
    )


class Requests(_Section):
    """Requests of persons that come as messages."""

    signed: bool = Field(
        True, description="only those signed by a registered key are done; no: any producer of the topic"
    )


class Telemetry(_Section):
    """Collectors that are told how much was done and how long it took, never what."""

    traces_url: str | None = Field(None, description="OpenTelemetry, OTLP over HTTP; none: no traces")
    lineage_url: str | None = Field(None, description="OpenLineage over HTTP; none: no events")

    @field_validator("traces_url", "lineage_url")
    @classmethod
    def _web(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("https://", "http://")):
            raise ValueError("an http or https URL")
        return url


class Limits(_Section):
    """Bounds on what comes in."""

    record_bytes: int = Field(256 * 1024, ge=256, le=16 * 1024 * 1024)
    future_seconds: int = Field(86_400, ge=0, le=7 * 86_400)


class Settings(BaseModel):
    """Everything that can be set. The environment wins over `lethe.toml`; sections are joined by `__`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    root: str = Field("var/warehouse", min_length=1, description="warehouse: a directory or an s3:// URL")
    keys_dir: Path = Field(
        Path("var/keys"), description="where the key-encryption keys live; never in the warehouse"
    )
    keys_group: str | None = Field(
        None,
        pattern=r"^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,31}$",
        description="system group (no person in it) of worker and service: `keys_dir` may be open to it (mode 2770), "
        "and what is made is for it, too; default: for the user alone",
    )
    keys: Keys = Keys()
    audit_dir: str | None = Field(
        None,
        min_length=1,
        description="audit log: a directory or an s3:// URL; default: `audit` in the key directory",
    )
    exports_dir: Path | None = Field(
        None, description="where exports asked for by message are written; default: `exports` beside the keys"
    )
    bootstrap: str = Field("localhost:9092", min_length=1)
    sources: dict[str, str] = Field(
        default_factory=lambda: dict(DEFAULT_SOURCES), description="topic -> format"
    )
    codes: Path | None = Field(
        None, description="file of codes that name nobody, a column and a code a line: shown as they are"
    )
    lines: dict[str, LineSettings] = Field(
        default_factory=dict,
        description="source (topic, or name given to `ingest`) -> country, own_numbers, dial_prefixes, charge_basis, "
        "currency",
    )
    residence: Path | None = Field(
        None,
        description="file that says of accounts, domains, address ranges and subjects in which country they are",
    )
    formats_dir: Path | None = Field(None, description="declarations of formats of your own (*.toml)")
    registry_url: str | None = Field(None, description="schema registry of Avro and Protobuf values")
    kafka: Kafka = Kafka()
    flush: Flush = Flush()
    integrity: Integrity = Integrity()
    retention: RetentionPolicy = RetentionPolicy()
    limits: Limits = Limits()
    serve: Serve = Serve()
    office: Office = Office()
    requests: Requests = Requests()
    telemetry: Telemetry = Telemetry()
    metrics_port: int = Field(9464, ge=0, le=65_535, description="/metrics, /live, /ready; 0: a free port")
    metrics_host: str = "127.0.0.1"
    log_level: Literal["DEBUG", "INFO", "WARN", "ERROR"] = "INFO"
    threads: int = Field(1, ge=1, le=64, description="loads split at the same time")
    storage: dict[str, SecretStr] = Field(
        default_factory=dict, description="object-store options, such as endpoints"
    )

    @field_validator("sources")
    @classmethod
    def _topics(cls, sources: dict[str, str]) -> dict[str, str]:
        for topic in sources:
            if not STREAM_PATTERN.fullmatch(topic):
                raise ValueError("a topic is named with letters, digits, `.`, `_` and `-` (at most 249)")
        return sources

    @model_validator(mode="after")
    def _log_names(self) -> Self:
        """Return a log's name is `<log_name>/<stream>/<partition>`; a stream may get `~2` and so on behind its
        topic.
        """
        for topic in self.sources:
            if len(f"{self.integrity.log_name}/{topic}~999/99999".encode()) > _LONGEST_ORIGIN:
                raise ValueError(f"integrity.log_name and the topic {topic} are too long together")
        return self

    _read: Callable[[], Settings] | None = PrivateAttr(None)

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
    except ValidationError as error:
        problems += [_problem(one, file, env) for one in error.errors(include_input=False, include_url=False)]
    if problems:
        raise ConfigurationError(
            "; ".join(["configuration: " + problems[0], *problems[1:], "see docs/configuration.md"])
        )
    settings._read = partial(load, path, environment)
    return settings


def _problem(error: Any, file: Path, env: Mapping[str, str]) -> str:
    """Say of one key where it is set and what is wrong with it."""
    # Between the keys stand the types of a union that were tried.
    keys = [str(part) for part in error["loc"] if re.fullmatch(r"[\w.~-]+", str(part))]
    what = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        what = "no setting is called so" + variables.nearest(keys[-1], variables.siblings(Settings, keys))
    if not keys:
        return str(what)
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
