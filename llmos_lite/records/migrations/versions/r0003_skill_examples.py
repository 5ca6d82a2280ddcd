"""Example requests of skills, by the digest of what they were written from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "skill_examples",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("requests", sa.Text(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_skill_examples")),
    )


def downgrade() -> None:
    """Go back; a newer version writes the requests again."""
    op.drop_table("skill_examples")
