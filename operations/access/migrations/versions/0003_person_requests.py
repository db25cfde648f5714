"""Requests of people to the privacy office.

There is no 0002. Numbers are names that databases keep, so none is changed or given again.
"""

from alembic import op

from lethe.operations.access.tables import Base

revision = "0003"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    Base.metadata.create_all(op.get_bind(), [Base.metadata.tables["person_requests"]])


def downgrade() -> None:
    """Drop the table."""
    Base.metadata.drop_all(op.get_bind(), [Base.metadata.tables["person_requests"]])
