"""Keys have a purpose: empty for an ordinary one, or what a capability token opens as a part of a URL."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Go to this revision."""
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        batch_op.add_column(sa.Column("purpose", sa.String(length=16), server_default="", nullable=False))


def downgrade() -> None:
    """Go back; capability tokens end, since an older version would take them for ordinary keys."""
    op.execute("DELETE FROM api_keys WHERE purpose <> ''")
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        batch_op.drop_column("purpose")
