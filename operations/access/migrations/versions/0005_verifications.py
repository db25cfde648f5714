"""What verifications found when they were asked for last."""

from alembic import op

from lethe.operations.access.tables import Base

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    Base.metadata.create_all(op.get_bind(), [Base.metadata.tables["verifications"]])


def downgrade() -> None:
    """Drop the table."""
    Base.metadata.drop_all(op.get_bind(), [Base.metadata.tables["verifications"]])
