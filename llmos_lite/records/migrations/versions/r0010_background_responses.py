"""Responses that models' servers make in the background."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "background_responses",
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("server", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("team", sa.String(length=64), nullable=False),
        sa.Column("trace_id", sa.String(length=26), nullable=False),
        sa.Column("began", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_background_responses")),
    )
    op.create_index(op.f("ix_background_responses_began"), "background_responses", ["began"])


def downgrade() -> None:
    """Go back."""
    op.drop_table("background_responses")
