"""How many things were ended in this database: an older copy of it shows by that."""

import uuid

from alembic import op

from lethe.operations.access.tables import Base

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and its one row."""
    table = Base.metadata.tables["mark"]
    Base.metadata.create_all(op.get_bind(), [table])
    op.bulk_insert(table, [{"id": str(uuid.uuid4()), "number": 0}])


def downgrade() -> None:
    """Drop the table."""
    Base.metadata.drop_all(op.get_bind(), [Base.metadata.tables["mark"]])
