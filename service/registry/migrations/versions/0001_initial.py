"""Tasks, versions, aliases with their history, bytes, audit, revision."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NAME = sa.String(63)
DIGEST = sa.String(64)


def upgrade() -> None:
    """Make every table, and the one row of `revision`."""
    table = op.create_table(
        "revision",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_revision_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revision")),
    )
    op.bulk_insert(table, [{"id": 1, "value": 0}])
    op.create_table(
        "tasks",
        sa.Column("name", NAME, nullable=False),
        sa.Column("next_version", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tasks")),
    )
    op.create_index(op.f("ix_tasks_revision"), "tasks", ["revision"])
    op.create_table(
        "blobs",
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_blobs")),
    )
    op.create_table(
        "versions",
        sa.Column("task", NAME, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("num_bytes", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("metadata_json", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["task"], ["tasks.name"], name=op.f("fk_versions_task")),
        sa.ForeignKeyConstraint(["digest"], ["blobs.digest"], name=op.f("fk_versions_digest")),
        sa.PrimaryKeyConstraint("task", "version", name=op.f("pk_versions")),
        sa.UniqueConstraint("task", "digest", name=op.f("uq_versions_task_digest")),
    )
    op.create_index(op.f("ix_versions_digest"), "versions", ["digest"])
    op.create_table(
        "aliases",
        sa.Column("task", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["task", "version"], ["versions.task", "versions.version"], name=op.f("fk_aliases_task_version")
        ),
        sa.PrimaryKeyConstraint("task", "name", name=op.f("pk_aliases")),
    )
    op.create_table(
        "alias_history",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("task", NAME, nullable=False),
        sa.Column("alias", NAME, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["task", "version"],
            ["versions.task", "versions.version"],
            name=op.f("fk_alias_history_task_version"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alias_history")),
    )
    op.create_index(op.f("ix_alias_history_task"), "alias_history", ["task"])
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("task", NAME, nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("alias", NAME, nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )


def downgrade() -> None:
    """Drop every table."""
    for name in ("audit", "alias_history", "aliases", "versions", "blobs", "tasks", "revision"):
        op.drop_table(name)
