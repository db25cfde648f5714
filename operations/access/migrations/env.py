"""Alembic's entry: runs the versions beside it on the connection that `Database.upgrade` gives."""

from alembic import context

from lethe.operations.access.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
context.run_migrations()
