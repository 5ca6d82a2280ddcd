"""Signing in to tool servers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Go to this revision."""
    with op.batch_alter_table("tool_servers") as batch:
        batch.add_column(sa.Column("client", sa.Text(), server_default="", nullable=False))
    op.create_table(
        "tool_server_grants",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("lease", sa.String(length=64), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tool_server_grants")),
    )
    op.create_table(
        "tool_server_sign_ins",
        sa.Column("state", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("browser", sa.String(length=64), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("started_by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("state", name=op.f("pk_tool_server_sign_ins")),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("tool_server_sign_ins")
    op.drop_table("tool_server_grants")
    with op.batch_alter_table("tool_servers") as batch:
        batch.drop_column("client")
