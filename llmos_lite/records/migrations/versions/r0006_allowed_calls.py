"""Calls of tools that people allowed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "allowed_calls",
        sa.Column("trace_id", sa.String(length=26), nullable=False),
        sa.Column("call_id", sa.String(length=64), nullable=False),
        sa.Column("began", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("is_error", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("trace_id", "call_id", name=op.f("pk_allowed_calls")),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("allowed_calls")
