"""First passwords that end, and second factors that were lost."""

import sqlalchemy as sa
from alembic import op

from lethe.operations.access.tables import Base

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, where the first step has not made it, and the table."""
    there = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("accounts")}
    if "provisional" not in there:
        op.add_column("accounts", Base.metadata.tables["accounts"].c.provisional._copy())
    Base.metadata.create_all(op.get_bind(), [Base.metadata.tables["recoveries"]])


def downgrade() -> None:
    """Drop both."""
    Base.metadata.drop_all(op.get_bind(), [Base.metadata.tables["recoveries"]])
    op.drop_column("accounts", "provisional")
