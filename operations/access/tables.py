"""The tables of the service's own state: accounts, sessions, cases, grants, reviews. No identifier in the clear.

What a case holds of persons (targets, notes) is sealed under the case's key (`sealed` columns); what is compared is a
keyed digest. SQLite by default, PostgreSQL for more than one instance; made and changed by Alembic only.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    DateTime,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Instant(TypeDecorator[datetime]):
    """An instant in UTC: SQLite forgets time zones, so it is given and read as naive UTC."""

    impl = DateTime(timezone=False)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        """Store the instant as naive UTC."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        """Read the instant as UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """The tables of this room."""


class Account(Base):
    """A person who works here. `name` is what they sign in with and what the audit says of them."""

    __tablename__ = "accounts"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    display: Mapped[str] = mapped_column(String(200))
    roles: Mapped[str] = mapped_column(String(400))  # comma-separated names of roles
    password: Mapped[str | None] = mapped_column(String(300))  # argon2id; None: signs in elsewhere
    totp: Mapped[bytes | None] = mapped_column(LargeBinary)  # sealed; None: not enrolled
    totp_step: Mapped[int] = mapped_column(Integer, default=0)  # the last step used: none counts twice
    issuer: Mapped[str | None] = mapped_column(String(300))
    subject: Mapped[str | None] = mapped_column(String(300))
    disabled: Mapped[bool] = mapped_column(Boolean, default=False)
    failures: Mapped[int] = mapped_column(Integer, default=0)
    locked_until: Mapped[datetime | None] = mapped_column(Instant)
    created: Mapped[datetime] = mapped_column(Instant)
    provisional: Mapped[datetime | None] = mapped_column(Instant)  # a first password: how long it signs in

    __table_args__ = (UniqueConstraint("issuer", "subject"),)


class Session(Base):
    """A signed-in browser or command line. `id` is the SHA-256 of the token that only its holder has."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    csrf: Mapped[str] = mapped_column(String(64))
    created: Mapped[datetime] = mapped_column(Instant)
    seen: Mapped[datetime] = mapped_column(Instant)
    ends: Mapped[datetime] = mapped_column(Instant)


class Case(Base):
    """A case: what every look belongs to."""

    __tablename__ = "cases"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    reference: Mapped[str] = mapped_column(String(120), unique=True)
    title: Mapped[bytes] = mapped_column(LargeBinary)  # sealed
    purpose: Mapped[str] = mapped_column(String(40))
    owner: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    opened: Mapped[datetime] = mapped_column(Instant)
    closed: Mapped[datetime | None] = mapped_column(Instant)


class CaseEntry(Base):
    """Something a case holds: a target or a note. All of it sealed; `digest` finds the same value again."""

    __tablename__ = "case_entries"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    case: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(20))  # target, note
    digest: Mapped[str] = mapped_column(String(64))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    author: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    added: Mapped[datetime] = mapped_column(Instant)

    __table_args__ = (UniqueConstraint("case", "kind", "digest"),)


class GrantRow(Base):
    """A grant, see `grants.Grant`. `sealed` is what the approver is shown: the values meant, and the reason."""

    __tablename__ = "grants"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    person: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    action: Mapped[str] = mapped_column(String(20))
    case: Mapped[str] = mapped_column(ForeignKey("cases.id"), index=True)
    purpose: Mapped[str] = mapped_column(String(40))
    first_month: Mapped[str] = mapped_column(String(7))
    last_month: Mapped[str] = mapped_column(String(7))
    rows: Mapped[int] = mapped_column(Integer)
    target: Mapped[str] = mapped_column(String(64), default="")
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    begins: Mapped[datetime] = mapped_column(Instant)
    ends: Mapped[datetime] = mapped_column(Instant)
    state: Mapped[str] = mapped_column(String(12), index=True)
    approved_by: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"))
    approved_digest: Mapped[str | None] = mapped_column(String(64))
    decided: Mapped[datetime | None] = mapped_column(Instant)
    break_glass: Mapped[bool] = mapped_column(Boolean, default=False)
    reviewed_by: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"))
    reviewed: Mapped[datetime | None] = mapped_column(Instant)
    used: Mapped[int] = mapped_column(Integer, default=0)
    requested: Mapped[datetime] = mapped_column(Instant)


class DailyCount(Base):
    """How many different subjects somebody has looked at on a day (UTC): what the daily cap counts."""

    __tablename__ = "daily_counts"

    account: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[str] = mapped_column(String(10), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)


class PersonRequest(Base):
    """A request of a person to the privacy office: the facts that name nobody. Whose it is lies sealed in its case."""

    __tablename__ = "person_requests"

    case: Mapped[str] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    language: Mapped[str] = mapped_column(String(10))
    received: Mapped[str] = mapped_column(String(10))  # a date
    due: Mapped[str] = mapped_column(String(10))
    extended: Mapped[bool] = mapped_column(Boolean, default=False)
    outcome: Mapped[str | None] = mapped_column(String(20))
    answered: Mapped[datetime | None] = mapped_column(Instant)


class Device(Base):
    """A terminal that waits to be signed in. `id` and `shown` are digests of its own code and of the one it shows."""

    __tablename__ = "devices"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    shown: Mapped[str] = mapped_column(String(64), index=True)
    source: Mapped[str | None] = mapped_column(String(200))
    account: Mapped[str | None] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    denied: Mapped[bool] = mapped_column(Boolean, default=False)
    ends: Mapped[datetime] = mapped_column(Instant)


class RequestKey(Base):
    """A key that signs an account's requests on the control topic. `public` is Ed25519's 32 bytes in hex."""

    __tablename__ = "request_keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    public: Mapped[str] = mapped_column(String(64), unique=True)
    title: Mapped[str] = mapped_column(String(200))
    added: Mapped[datetime] = mapped_column(Instant)
    revoked: Mapped[datetime | None] = mapped_column(Instant)


class SeenRequest(Base):
    """A signed request that was taken: the digests of its id and of what it said. Nobody can be told from either."""

    __tablename__ = "seen_requests"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    said: Mapped[str] = mapped_column(String(64))
    taken: Mapped[datetime] = mapped_column(Instant)


class Verification(Base):
    """What a verification found when it was asked for last, by what it looked at."""

    __tablename__ = "verifications"

    what: Mapped[str] = mapped_column(String(40), primary_key=True)
    at: Mapped[datetime] = mapped_column(Instant)
    by: Mapped[str] = mapped_column(String(120))
    ok: Mapped[bool] = mapped_column(Boolean)
    told: Mapped[str] = mapped_column(String(1000))


class Mark(Base):
    """How many things were ended in this database; one row. `id` is made with it, and is in every copy of it."""

    __tablename__ = "mark"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    number: Mapped[int] = mapped_column(Integer)


class Recovery(Base):
    """A lost second factor that an administrator asks to take off an account; a second person does it, by `ends`."""

    __tablename__ = "recoveries"

    account: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    asked_by: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    reason: Mapped[str] = mapped_column(String(500))  # how it was made sure that it is them
    asked: Mapped[datetime] = mapped_column(Instant)
    ends: Mapped[datetime] = mapped_column(Instant)
