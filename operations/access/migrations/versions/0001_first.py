"""First schema: accounts, sessions, cases, grants, daily counts."""

from alembic import op

from lethe.operations.access.tables import Base

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = ("accounts", "sessions", "cases", "case_entries", "grants", "daily_counts")


def upgrade() -> None:
    """Make the tables."""
    Base.metadata.create_all(op.get_bind(), [Base.metadata.tables[name] for name in _TABLES])


def downgrade() -> None:
    """Drop the tables."""
    Base.metadata.drop_all(op.get_bind(), [Base.metadata.tables[name] for name in reversed(_TABLES)])
