"""Alembic's environment, run by `schema.upgrade` or a developer's own alembic call on the given connection."""

from alembic import context

from service.registry.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite changes a column by copying the table
)
with context.begin_transaction():
    context.run_migrations()
