"""Terminals that wait to be signed in, keys of requests, and which requests were taken."""

from alembic import op

from lethe.operations.access.tables import Base

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLES = ("devices", "request_keys", "seen_requests")


def upgrade() -> None:
    """Make the tables."""
    Base.metadata.create_all(op.get_bind(), [Base.metadata.tables[name] for name in _TABLES])


def downgrade() -> None:
    """Drop the tables."""
    Base.metadata.drop_all(op.get_bind(), [Base.metadata.tables[name] for name in reversed(_TABLES)])
