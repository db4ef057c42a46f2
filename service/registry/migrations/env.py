"""Alembic's environment: run by `upgrade.py` (or a developer's own alembic call) on the connection it is given."""

from alembic import context

from service.registry.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite changes a column by making the table anew
)
with context.begin_transaction():
    context.run_migrations()
