"""Sign-ins to tool servers have owners; those that are there already are begun anew."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Go to this revision."""
    _make(owned=True)


def downgrade() -> None:
    """Go back."""
    _make(owned=False)


def _make(*, owned: bool) -> None:
    """Make both tables anew: their rows hold nothing but what can be begun again."""
    op.drop_table("tool_server_sign_ins")
    op.drop_table("tool_server_grants")
    op.create_table(
        "tool_server_grants",
        sa.Column("name", sa.String(length=64), nullable=False),
        *_owner(owned=owned),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("lease", sa.String(length=64), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name", *(["owner"] if owned else []), name=op.f("pk_tool_server_grants")),
    )
    op.create_table(
        "tool_server_sign_ins",
        sa.Column("state", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        *_owner(owned=owned),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("browser", sa.String(length=64), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("started_by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("state", name=op.f("pk_tool_server_sign_ins")),
    )


def _owner(*, owned: bool) -> list[sa.Column[str]]:
    return [sa.Column("owner", sa.String(length=64), nullable=False)] if owned else []
