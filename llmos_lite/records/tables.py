"""The rows: accounts, which are the only copy, and a catalog of what Git holds, which can be rebuilt.

`traces`, `trace_skills`, `trace_events`, `skills`, `patterns` and `pattern_members` are rebuilt by `llmos reindex`;
`proposals` from the branches `pr/*`; `users`, `teams`, `members` are not. `runs` is the log of long work.
Times are integers: milliseconds since the epoch, UTC.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Float, ForeignKey, Index, Integer, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ID = String(64)
VOLUME = String(80)
ULID = String(26)
OID = String(64)


class Table(DeclarativeBase):
    """Base of all tables, with the naming convention that alembic needs to name a constraint."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class UserRow(Table):
    """A person (or a service account) and the settings that are theirs."""

    __tablename__ = "users"
    user_id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), default="")
    role: Mapped[str] = mapped_column(String(20), default="user")
    record: Mapped[bool] = mapped_column(Boolean, default=True)
    share: Mapped[str] = mapped_column(String(10), default="digest")
    active: Mapped[bool] = mapped_column(Boolean, default=True)
    created: Mapped[int] = mapped_column(BigInteger)


class TeamRow(Table):
    """A team."""

    __tablename__ = "teams"
    team_id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), default="")
    created: Mapped[int] = mapped_column(BigInteger)


class MemberRow(Table):
    """A person's role in a team."""

    __tablename__ = "members"
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.team_id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.user_id", ondelete="CASCADE"), primary_key=True, index=True)
    role: Mapped[str] = mapped_column(String(20), default="user")
    created: Mapped[int] = mapped_column(BigInteger)


class TraceRow(Table):
    """Where a trace lies and what lists and filters need of it.

    `blob`, `offset` and `length` (bytes) find the trace's line in its segment; an empty `blob` means that it still lies
    in the journal. `trace_id` is a ULID of `time`, so its order is that of time. `text` is what the text filter
    searches: lower case, cut to 4,000 characters. It stands last, since a database reads a row only as far as it must.
    """

    __tablename__ = "traces"
    trace_id: Mapped[str] = mapped_column(ULID, primary_key=True)
    volume: Mapped[str] = mapped_column(VOLUME)
    actor: Mapped[str] = mapped_column(ID, index=True)
    conversation: Mapped[str] = mapped_column(String(128), index=True)
    parent: Mapped[str] = mapped_column(ULID, default="")
    time: Mapped[int] = mapped_column(BigInteger)
    goal: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(String(200), default="")
    source: Mapped[str] = mapped_column(String(64), default="chat")
    ended: Mapped[str] = mapped_column(String(10))
    outcome: Mapped[str] = mapped_column(String(10))
    rating: Mapped[str] = mapped_column(String(4), default="")
    skills_used: Mapped[str] = mapped_column(Text, default="[]")
    branch: Mapped[str] = mapped_column(String(7), default="")
    blob: Mapped[str] = mapped_column(OID, default="")
    offset: Mapped[int] = mapped_column(BigInteger, default=0)
    length: Mapped[int] = mapped_column(Integer, default=0)
    text: Mapped[str] = mapped_column(Text, default="")

    __table_args__ = (
        Index("ix_traces_volume_trace_id", "volume", "trace_id"),
        Index("ix_traces_volume_outcome_trace_id", "volume", "outcome", "trace_id"),
        Index("ix_traces_volume_conversation", "volume", "conversation"),
    )


class TraceSkillRow(Table):
    """A skill version that was used in a trace."""

    __tablename__ = "trace_skills"
    trace_id: Mapped[str] = mapped_column(ForeignKey("traces.trace_id", ondelete="CASCADE"), primary_key=True)
    volume: Mapped[str] = mapped_column(VOLUME, primary_key=True)
    skill_id: Mapped[str] = mapped_column(ID, primary_key=True)
    version: Mapped[str] = mapped_column(OID)

    __table_args__ = (
        Index("ix_trace_skills_volume_skill_id_version", "volume", "skill_id", "version"),
        Index("ix_trace_skills_skill_id_trace_id", "skill_id", "trace_id"),
    )


class TraceEventRow(Table):
    """Where an event lies that came after its trace: feedback, or a verdict on the outcome.

    `blob`, `offset` and `length` are as in `traces`.
    """

    __tablename__ = "trace_events"
    event_id: Mapped[str] = mapped_column(ULID, primary_key=True)
    trace_id: Mapped[str] = mapped_column(ULID, index=True)
    volume: Mapped[str] = mapped_column(VOLUME, index=True)
    kind: Mapped[str] = mapped_column(String(10))
    at: Mapped[int] = mapped_column(BigInteger)
    branch: Mapped[str] = mapped_column(String(7), default="")
    blob: Mapped[str] = mapped_column(OID, default="")
    offset: Mapped[int] = mapped_column(BigInteger, default=0)
    length: Mapped[int] = mapped_column(Integer, default=0)


class SkillRow(Table):
    """Where a skill came from: what its last commits say, so that a list need not walk the history."""

    __tablename__ = "skills"
    volume: Mapped[str] = mapped_column(VOLUME, primary_key=True)
    skill_id: Mapped[str] = mapped_column(ID, primary_key=True)
    version: Mapped[str] = mapped_column(OID)
    origin: Mapped[str] = mapped_column(String(20))
    author: Mapped[str] = mapped_column(String(200), default="")
    pattern_id: Mapped[str] = mapped_column(String(64), default="")
    created: Mapped[int] = mapped_column(BigInteger)
    updated: Mapped[int] = mapped_column(BigInteger)


class PatternRow(Table):
    """A goal that repeats in a volume.

    `count` counts conversations, `users` distinct people; `success_rate` is the share of them that counts as a success.
    `examples` is a JSON list of goals; `reason` says why no skill was made of it, when none was.
    """

    __tablename__ = "patterns"
    pattern_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    volume: Mapped[str] = mapped_column(VOLUME, index=True)
    goal: Mapped[str] = mapped_column(Text)
    count: Mapped[int] = mapped_column(Integer)
    users: Mapped[int] = mapped_column(Integer)
    success_rate: Mapped[float] = mapped_column(Float)
    examples: Mapped[str] = mapped_column(Text)
    skill_id: Mapped[str] = mapped_column(ID, default="")
    reason: Mapped[str] = mapped_column(String(200), default="")
    first: Mapped[int] = mapped_column(BigInteger)
    last: Mapped[int] = mapped_column(BigInteger)


class PatternMemberRow(Table):
    """A conversation, by its opening trace, that belongs to a pattern."""

    __tablename__ = "pattern_members"
    pattern_id: Mapped[str] = mapped_column(ForeignKey("patterns.pattern_id", ondelete="CASCADE"), primary_key=True)
    trace_id: Mapped[str] = mapped_column(ULID, primary_key=True, index=True)


class RunRow(Table):
    """One run of long work: an evolution, an import, a reindex.

    `state` is `queued`, `running`, `done` or `failed`; `done` of `total` steps are finished; `result` is a JSON object.
    """

    __tablename__ = "runs"
    run_id: Mapped[str] = mapped_column(ULID, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    actor: Mapped[str] = mapped_column(ID, index=True)
    request: Mapped[str] = mapped_column(Text, default="{}")
    state: Mapped[str] = mapped_column(String(10), default="queued")
    stage: Mapped[str] = mapped_column(String(40), default="")
    done: Mapped[int] = mapped_column(Integer, default=0)
    total: Mapped[int] = mapped_column(Integer, default=0)
    result: Mapped[str] = mapped_column(Text, default="{}")
    error: Mapped[str] = mapped_column(Text, default="")
    created: Mapped[int] = mapped_column(BigInteger)
    finished: Mapped[int] = mapped_column(BigInteger, default=0)


class ProposalRow(Table):
    """A proposed change to a volume; the branch `pr/<user>/<skill>` there holds the change itself."""

    __tablename__ = "proposals"
    proposal_id: Mapped[str] = mapped_column(ULID, primary_key=True)
    target: Mapped[str] = mapped_column(VOLUME, index=True)
    source: Mapped[str] = mapped_column(VOLUME)
    skill_id: Mapped[str] = mapped_column(ID)
    branch: Mapped[str] = mapped_column(String(200))
    author: Mapped[str] = mapped_column(ID)
    reason: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(10), default="open")
    created: Mapped[int] = mapped_column(BigInteger)
    decided: Mapped[int] = mapped_column(BigInteger, default=0)
    decided_by: Mapped[str] = mapped_column(ID, default="")
