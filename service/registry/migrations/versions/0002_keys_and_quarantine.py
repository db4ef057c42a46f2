"""API keys; quarantine of damaged blobs; a checksum of each version's row; audit rows without a task."""

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NAME = sa.String(63)
DIGEST = sa.String(64)
VERSIONS = sa.table(
    "versions",
    sa.column("task", NAME),
    sa.column("version", sa.Integer()),
    sa.column("digest", DIGEST),
    sa.column("num_bytes", sa.Integer()),
    sa.column("created_at", sa.DateTime()),
    sa.column("metadata_json", sa.Text()),
    sa.column("row_sha256", DIGEST),
)


def upgrade() -> None:
    """Add the table `keys`, `blobs.quarantined_at` and `versions.row_sha256`; `audit.task` may be null."""
    op.create_table(
        "keys",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("tasks", sa.Text(), nullable=False),
        sa.Column("secret_sha256", DIGEST, nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("revoked_at", sa.DateTime(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
    )
    op.create_index(op.f("ix_keys_revision"), "keys", ["revision"])
    op.add_column("blobs", sa.Column("quarantined_at", sa.DateTime(), nullable=True))
    with op.batch_alter_table("audit") as audit:
        audit.alter_column("task", existing_type=NAME, nullable=True)
    # Not by copying the table: dropping the old one would delete the rows that refer to it.
    op.add_column("versions", sa.Column("row_sha256", DIGEST, nullable=False, server_default=""))
    _fill_checksums()


def downgrade() -> None:
    """Undo it; audit rows without a task are lost."""
    op.execute("DELETE FROM audit WHERE task IS NULL")
    with op.batch_alter_table("audit") as audit:
        audit.alter_column("task", existing_type=NAME, nullable=False)
    op.drop_column("versions", "row_sha256")
    op.drop_column("blobs", "quarantined_at")
    op.drop_table("keys")


def _fill_checksums() -> None:
    connection = op.get_bind()
    for row in connection.execute(sa.select(VERSIONS)).all():
        values = [row.task, row.version, row.digest, row.num_bytes, row.created_at.isoformat(), row.metadata_json]
        connection.execute(
            VERSIONS.update()
            .where(VERSIONS.c.task == row.task, VERSIONS.c.version == row.version)
            .values(row_sha256=hashlib.sha256(json.dumps(values).encode()).hexdigest())
        )
