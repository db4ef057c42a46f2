"""A weight for each task: its share of the engine's time."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add `tasks.weight`; every task has 1."""
    op.add_column("tasks", sa.Column("weight", sa.Double(), nullable=False, server_default="1"))


def downgrade() -> None:
    """Undo it; weights are lost."""
    op.drop_column("tasks", "weight")
