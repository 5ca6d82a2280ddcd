"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "patterns",
        sa.Column("pattern_id", sa.String(length=64), nullable=False),
        sa.Column("volume", sa.String(length=80), nullable=False),
        sa.Column("goal", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("users", sa.Integer(), nullable=False),
        sa.Column("success_rate", sa.Float(), nullable=False),
        sa.Column("examples", sa.Text(), nullable=False),
        sa.Column("skill_id", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("pattern_id", name=op.f("pk_patterns")),
    )
    with op.batch_alter_table("patterns", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_patterns_volume"), ["volume"], unique=False)

    op.create_table(
        "proposals",
        sa.Column("proposal_id", sa.String(length=26), nullable=False),
        sa.Column("target", sa.String(length=80), nullable=False),
        sa.Column("source", sa.String(length=80), nullable=False),
        sa.Column("skill_id", sa.String(length=64), nullable=False),
        sa.Column("branch", sa.String(length=200), nullable=False),
        sa.Column("author", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("decided", sa.BigInteger(), nullable=False),
        sa.Column("decided_by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("proposal_id", name=op.f("pk_proposals")),
    )
    with op.batch_alter_table("proposals", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_proposals_target"), ["target"], unique=False)

    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("stage", sa.String(length=40), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("finished", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_runs")),
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_runs_actor"), ["actor"], unique=False)

    op.create_table(
        "skills",
        sa.Column("volume", sa.String(length=80), nullable=False),
        sa.Column("skill_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("origin", sa.String(length=20), nullable=False),
        sa.Column("author", sa.String(length=200), nullable=False),
        sa.Column("pattern_id", sa.String(length=64), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("volume", "skill_id", name=op.f("pk_skills")),
    )
    op.create_table(
        "teams",
        sa.Column("team_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("team_id", name=op.f("pk_teams")),
    )
    op.create_table(
        "trace_events",
        sa.Column("event_id", sa.String(length=26), nullable=False),
        sa.Column("trace_id", sa.String(length=26), nullable=False),
        sa.Column("volume", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("branch", sa.String(length=7), nullable=False),
        sa.Column("blob", sa.String(length=64), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_trace_events")),
    )
    with op.batch_alter_table("trace_events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_trace_events_trace_id"), ["trace_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_trace_events_volume"), ["volume"], unique=False)

    op.create_table(
        "traces",
        sa.Column("trace_id", sa.String(length=26), nullable=False),
        sa.Column("volume", sa.String(length=80), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("conversation", sa.String(length=128), nullable=False),
        sa.Column("parent", sa.String(length=26), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("goal", sa.Text(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("ended", sa.String(length=10), nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("rating", sa.String(length=4), nullable=False),
        sa.Column("skills_used", sa.Text(), nullable=False),
        sa.Column("branch", sa.String(length=7), nullable=False),
        sa.Column("blob", sa.String(length=64), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("trace_id", name=op.f("pk_traces")),
    )
    with op.batch_alter_table("traces", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_traces_actor"), ["actor"], unique=False)
        batch_op.create_index(batch_op.f("ix_traces_conversation"), ["conversation"], unique=False)
        batch_op.create_index("ix_traces_volume_conversation", ["volume", "conversation"], unique=False)
        batch_op.create_index("ix_traces_volume_outcome_trace_id", ["volume", "outcome", "trace_id"], unique=False)
        batch_op.create_index("ix_traces_volume_trace_id", ["volume", "trace_id"], unique=False)

    op.create_table(
        "users",
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("record", sa.Boolean(), nullable=False),
        sa.Column("share", sa.String(length=10), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_users")),
    )
    op.create_table(
        "members",
        sa.Column("team_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.team_id"], name=op.f("fk_members_team_id_teams"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.user_id"], name=op.f("fk_members_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("team_id", "user_id", name=op.f("pk_members")),
    )
    with op.batch_alter_table("members", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_members_user_id"), ["user_id"], unique=False)

    op.create_table(
        "pattern_members",
        sa.Column("pattern_id", sa.String(length=64), nullable=False),
        sa.Column("trace_id", sa.String(length=26), nullable=False),
        sa.ForeignKeyConstraint(
            ["pattern_id"],
            ["patterns.pattern_id"],
            name=op.f("fk_pattern_members_pattern_id_patterns"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("pattern_id", "trace_id", name=op.f("pk_pattern_members")),
    )
    with op.batch_alter_table("pattern_members", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pattern_members_trace_id"), ["trace_id"], unique=False)

    op.create_table(
        "trace_skills",
        sa.Column("trace_id", sa.String(length=26), nullable=False),
        sa.Column("volume", sa.String(length=80), nullable=False),
        sa.Column("skill_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["trace_id"], ["traces.trace_id"], name=op.f("fk_trace_skills_trace_id_traces"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("trace_id", "volume", "skill_id", name=op.f("pk_trace_skills")),
    )
    with op.batch_alter_table("trace_skills", schema=None) as batch_op:
        batch_op.create_index("ix_trace_skills_skill_id_trace_id", ["skill_id", "trace_id"], unique=False)
        batch_op.create_index(
            "ix_trace_skills_volume_skill_id_version", ["volume", "skill_id", "version"], unique=False
        )


def downgrade() -> None:
    """Go back to the revision before."""
    with op.batch_alter_table("trace_skills", schema=None) as batch_op:
        batch_op.drop_index("ix_trace_skills_volume_skill_id_version")
        batch_op.drop_index("ix_trace_skills_skill_id_trace_id")

    op.drop_table("trace_skills")
    with op.batch_alter_table("pattern_members", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_pattern_members_trace_id"))

    op.drop_table("pattern_members")
    with op.batch_alter_table("members", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_members_user_id"))

    op.drop_table("members")
    op.drop_table("users")
    with op.batch_alter_table("traces", schema=None) as batch_op:
        batch_op.drop_index("ix_traces_volume_trace_id")
        batch_op.drop_index("ix_traces_volume_outcome_trace_id")
        batch_op.drop_index("ix_traces_volume_conversation")
        batch_op.drop_index(batch_op.f("ix_traces_conversation"))
        batch_op.drop_index(batch_op.f("ix_traces_actor"))

    op.drop_table("traces")
    with op.batch_alter_table("trace_events", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_trace_events_volume"))
        batch_op.drop_index(batch_op.f("ix_trace_events_trace_id"))

    op.drop_table("trace_events")
    op.drop_table("teams")
    op.drop_table("skills")
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_runs_actor"))

    op.drop_table("runs")
    with op.batch_alter_table("proposals", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_proposals_target"))

    op.drop_table("proposals")
    with op.batch_alter_table("patterns", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_patterns_volume"))

    op.drop_table("patterns")
