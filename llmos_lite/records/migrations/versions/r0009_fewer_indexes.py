"""Rows of traces lose two indexes that no question needs: a skill index alone took half the time of writing them."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Go to this revision."""
    op.drop_index("ix_trace_skills_volume_skill_id_version", "trace_skills")
    op.drop_index("ix_traces_conversation", "traces")


def downgrade() -> None:
    """Go back."""
    op.create_index("ix_traces_conversation", "traces", ["conversation"])
    op.create_index("ix_trace_skills_volume_skill_id_version", "trace_skills", ["volume", "skill_id", "version"])
