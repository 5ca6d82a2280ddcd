"""The rows: accounts, which are the only copy, and a catalog of what Git holds, which can be rebuilt.

`traces`, `trace_skills`, `trace_events`, `skills`, `patterns` and `pattern_members` are rebuilt by `llmos reindex`;
`proposals` from their events; `users`, `identities`, `api_keys`, `passwords`, `sessions`, `teams`, `members`,
`invitations`, `remotes`, `allowed_calls` and `background_responses` are not. `runs` is the log of long work. `audit`
only grows; `usage` and `budgets` say what was used, and what may be.
Times are integers: milliseconds since the epoch, UTC.
"""

from __future__ import annotations

from sqlalchemy import DDL, BigInteger, Boolean, Float, ForeignKey, Index, Integer, MetaData, String, Text, event
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
    kind: Mapped[str] = mapped_column(String(10), default="person")
    service_of: Mapped[str] = mapped_column(VOLUME, default="")
    email: Mapped[str | None] = mapped_column(String(254), unique=True)


class IdentityRow(Table):
    """A name under which another system knows a person: `provider` is that system, `subject` the person's id there."""

    __tablename__ = "identities"
    provider: Mapped[str] = mapped_column(ID, primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.user_id", ondelete="CASCADE"), index=True)


class ApiKeyRow(Table):
    """An API key; of the key itself only its SHA-256 is kept, in hex.

    `key_id` is the part of the key that may be shown; `scopes` and `teams` are separated by spaces, `teams` being NULL
    for all of the owner's; `parent` is the key that made this one; `expires`, `revoked`, `last_used` are 0 for never.
    `purpose` is empty for an ordinary key, or what a capability token opens as a part of a URL.
    """

    __tablename__ = "api_keys"
    key_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.user_id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(200), default="")
    digest: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[str] = mapped_column(Text)
    teams: Mapped[str | None] = mapped_column(Text)
    parent: Mapped[str] = mapped_column(String(16), default="", index=True)
    created: Mapped[int] = mapped_column(BigInteger)
    created_by: Mapped[str] = mapped_column(ID)
    expires: Mapped[int] = mapped_column(BigInteger, default=0)
    revoked: Mapped[int] = mapped_column(BigInteger, default=0)
    last_used: Mapped[int] = mapped_column(BigInteger, default=0)
    purpose: Mapped[str] = mapped_column(String(16), default="", server_default="")


class TeamRow(Table):
    """A team; `archived` is 0, or when it was deleted: its id and its volume stay."""

    __tablename__ = "teams"
    team_id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), default="")
    created: Mapped[int] = mapped_column(BigInteger)
    archived: Mapped[int] = mapped_column(BigInteger, default=0)


class MemberRow(Table):
    """A person's role in a team."""

    __tablename__ = "members"
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.team_id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.user_id", ondelete="CASCADE"), primary_key=True, index=True)
    role: Mapped[str] = mapped_column(String(20), default="user")
    created: Mapped[int] = mapped_column(BigInteger)


class InvitationRow(Table):
    """An invitation by link, of which only the SHA-256 is kept; `team_id` is NULL for one to the instance alone.

    `accepted`, `revoked` and `expires` are times; the first two are 0 as long as that did not happen.
    """

    __tablename__ = "invitations"
    invitation_id: Mapped[str] = mapped_column(ULID, primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    team_id: Mapped[str | None] = mapped_column(ForeignKey("teams.team_id", ondelete="CASCADE"), index=True)
    role: Mapped[str] = mapped_column(String(20), default="user")
    name: Mapped[str] = mapped_column(String(200), default="")
    created: Mapped[int] = mapped_column(BigInteger)
    created_by: Mapped[str] = mapped_column(ID)
    expires: Mapped[int] = mapped_column(BigInteger)
    accepted: Mapped[int] = mapped_column(BigInteger, default=0)
    accepted_by: Mapped[str] = mapped_column(ID, default="")
    revoked: Mapped[int] = mapped_column(BigInteger, default=0)


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
    conversation: Mapped[str] = mapped_column(String(128))
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

    __table_args__ = (Index("ix_trace_skills_skill_id_trace_id", "skill_id", "trace_id"),)


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


class SkillExampleRow(Table):
    """Example requests that a model wrote for a text of a skill, found by a digest of what it was shown.

    `requests` is a JSON list of text, empty after answers of no use; `tries` counts the answers. They are neither in
    Git nor rebuilt by `llmos reindex`: the model writes them again.
    """

    __tablename__ = "skill_examples"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    requests: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(String(200))
    tries: Mapped[int] = mapped_column(Integer)
    time: Mapped[int] = mapped_column(BigInteger)


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
    """A proposed change to a volume; the branch `pr/<user>/<skill>` there holds the change itself.

    All of it is what the events in the volume's `refs/llmos/proposals` come to, `events` of them. `head` and `digest`
    are the branch and what it proposed at the last one that moved it; `review` is what reviewers said of that.
    """

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
    decision: Mapped[str] = mapped_column(Text, default="")
    commit: Mapped[str] = mapped_column(OID, default="")
    head: Mapped[str] = mapped_column(OID, default="")
    digest: Mapped[str] = mapped_column(OID, default="")
    review: Mapped[str] = mapped_column(String(20), default="")
    comments: Mapped[int] = mapped_column(Integer, default=0)
    events: Mapped[int] = mapped_column(Integer, default=0)
    updated: Mapped[int] = mapped_column(BigInteger, default=0)


class PasswordRow(Table):
    """The hash of a person's password."""

    __tablename__ = "passwords"
    user_id: Mapped[str] = mapped_column(ForeignKey("users.user_id", ondelete="CASCADE"), primary_key=True)
    hash: Mapped[str] = mapped_column(Text)
    changed: Mapped[int] = mapped_column(BigInteger)


class SessionRow(Table):
    """A sign-in that lasts: of a browser (`web`), or of a client with tokens (`token`).

    `digest` is the SHA-256 of the secret that continues it, in hex; `turns` counts how often that was exchanged.
    `method` is how it began: `password`, `oidc`, `link` or `key`.
    """

    __tablename__ = "sessions"
    session_id: Mapped[str] = mapped_column(ULID, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.user_id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(10))
    method: Mapped[str] = mapped_column(String(10))
    digest: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[str] = mapped_column(Text)
    client: Mapped[str] = mapped_column(String(64))
    agent: Mapped[str] = mapped_column(String(200))
    turns: Mapped[int] = mapped_column(Integer)
    created: Mapped[int] = mapped_column(BigInteger)
    used: Mapped[int] = mapped_column(BigInteger)
    expires: Mapped[int] = mapped_column(BigInteger, index=True)


class AuditRow(Table):
    """Who did what to what; `hash` covers the row and, by `prev`, every row before it. The database refuses changes.

    `about` is the volume that it concerns, or nothing; `detail` is a JSON object of strings.
    """

    __tablename__ = "audit"
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    time: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(ID)
    owner: Mapped[str] = mapped_column(ID)
    credential: Mapped[str] = mapped_column(String(120))
    client: Mapped[str] = mapped_column(String(64))
    request_id: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(64))
    target: Mapped[str] = mapped_column(String(200))
    about: Mapped[str] = mapped_column(VOLUME)
    result: Mapped[str] = mapped_column(String(10))
    code: Mapped[str] = mapped_column(String(64))
    detail: Mapped[str] = mapped_column(Text)
    prev: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))

    __table_args__ = (
        Index("ix_audit_actor_seq", "actor", "seq"),
        Index("ix_audit_about_seq", "about", "seq"),
        Index("ix_audit_action_seq", "action", "seq"),
    )


_REFUSAL = "BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END"
_FUNCTION = "AS $$ BEGIN RAISE EXCEPTION 'the audit log only grows'; END $$"
APPEND_ONLY = {
    "sqlite": (
        f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit {_REFUSAL}",
        f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit {_REFUSAL}",
    ),
    "postgresql": (
        f"CREATE FUNCTION audit_only_grows() RETURNS trigger LANGUAGE plpgsql {_FUNCTION}",
        "CREATE TRIGGER audit_rows BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_only_grows()",
        "CREATE TRIGGER audit_all BEFORE TRUNCATE ON audit EXECUTE FUNCTION audit_only_grows()",
    ),
}
"""What makes a database refuse to change or delete rows of `audit`, by dialect."""

for _dialect, _statements in APPEND_ONLY.items():
    for _statement in _statements:
        _ddl = DDL(_statement).execute_if(dialect=_dialect)  # type: ignore[no-untyped-call]  # the library's
        event.listen(Table.metadata.tables["audit"], "after_create", _ddl)


class UsageRow(Table):
    """What a subject (`user:alice`, `team:sre`, `key:llmos_0a1b`) used of models in a month (`2026-11`, UTC).

    `micros` is money in millionths of the unit that the prices are in.
    """

    __tablename__ = "usage"
    subject: Mapped[str] = mapped_column(VOLUME, primary_key=True)
    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    requests: Mapped[int] = mapped_column(BigInteger)
    tokens_in: Mapped[int] = mapped_column(BigInteger)
    tokens_out: Mapped[int] = mapped_column(BigInteger)
    micros: Mapped[int] = mapped_column(BigInteger)


class BudgetRow(Table):
    """What a subject may use, where it differs from the settings; null takes the setting, 0 is no limit."""

    __tablename__ = "budgets"
    subject: Mapped[str] = mapped_column(VOLUME, primary_key=True)
    requests: Mapped[int | None] = mapped_column(Integer)
    streams: Mapped[int | None] = mapped_column(Integer)
    tokens: Mapped[int | None] = mapped_column(BigInteger)
    micros: Mapped[int | None] = mapped_column(BigInteger)
    changed: Mapped[int] = mapped_column(BigInteger)
    changed_by: Mapped[str] = mapped_column(ID)


class RemoteRow(Table):
    """Another repository that a volume's skills, or its traces, are mirrored to or pulled from; and how that goes.

    `secret` is sealed. `head` is our commit at the last look, `theirs` the one there, `proposed` the last one of theirs
    that became a proposal. `sent` is JSON: by month, the commits that a mirror of traces may hold. `erasing` is since
    when it has to be told of an erasure. `removed` keeps the name of a place that traces were sent to.
    """

    __tablename__ = "remotes"
    remote_id: Mapped[str] = mapped_column(ULID, primary_key=True)
    volume: Mapped[str] = mapped_column(VOLUME)
    name: Mapped[str] = mapped_column(ID)
    url: Mapped[str] = mapped_column(String(1000))
    branch: Mapped[str] = mapped_column(String(200), default="main")
    traces: Mapped[bool] = mapped_column(Boolean, default=False)
    direction: Mapped[str] = mapped_column(String(10))
    timing: Mapped[str] = mapped_column(String(10))
    cron: Mapped[str] = mapped_column(String(100), default="")
    trust: Mapped[bool] = mapped_column(Boolean, default=False)
    active: Mapped[bool] = mapped_column(Boolean, default=True)
    credential: Mapped[str] = mapped_column(String(10), default="")
    username: Mapped[str] = mapped_column(String(200), default="")
    secret: Mapped[str] = mapped_column(Text, default="")
    public_key: Mapped[str] = mapped_column(Text, default="")
    created: Mapped[int] = mapped_column(BigInteger)
    created_by: Mapped[str] = mapped_column(ID)
    removed: Mapped[int] = mapped_column(BigInteger, default=0)
    state: Mapped[str] = mapped_column(String(10), default="new")
    problem: Mapped[str] = mapped_column(Text, default="")
    ahead: Mapped[int] = mapped_column(Integer, default=0)
    behind: Mapped[int] = mapped_column(Integer, default=0)
    tried: Mapped[int] = mapped_column(BigInteger, default=0)
    succeeded: Mapped[int] = mapped_column(BigInteger, default=0)
    failures: Mapped[int] = mapped_column(Integer, default=0)
    next_try: Mapped[int] = mapped_column(BigInteger, default=0)
    head: Mapped[str] = mapped_column(OID, default="")
    theirs: Mapped[str] = mapped_column(OID, default="")
    proposed: Mapped[str] = mapped_column(OID, default="")
    sent: Mapped[str] = mapped_column(Text, default="{}")
    erasing: Mapped[int] = mapped_column(BigInteger, default=0)

    __table_args__ = (Index("ix_remotes_volume_name", "volume", "name"),)


class ProviderRow(Table):
    """A model server that an admin has set; `document` is JSON without its key, and `secret` is sealed."""

    __tablename__ = "providers"
    name: Mapped[str] = mapped_column(ID, primary_key=True)
    document: Mapped[str] = mapped_column(Text)
    secret: Mapped[str] = mapped_column(Text, default="")
    changed: Mapped[int] = mapped_column(BigInteger, default=0)
    changed_by: Mapped[str] = mapped_column(ID, default="")


class ToolServerRow(Table):
    """A tool server that an admin has set; `document` is JSON without secrets.

    `secret` are its headers, and `client` is the secret of the client that signs in to it, both sealed.
    """

    __tablename__ = "tool_servers"
    name: Mapped[str] = mapped_column(ID, primary_key=True)
    document: Mapped[str] = mapped_column(Text)
    secret: Mapped[str] = mapped_column(Text, default="")
    changed: Mapped[int] = mapped_column(BigInteger, default=0)
    changed_by: Mapped[str] = mapped_column(ID, default="")
    client: Mapped[str] = mapped_column(Text, default="", server_default="")


class AllowedCallRow(Table):
    """A call of a tool that a person allowed and that was begun, until the conversation has gone on.

    `trace_id` is the trace that handed the call out, `result` what it gave, redacted, once `ended` is true.
    """

    __tablename__ = "allowed_calls"
    trace_id: Mapped[str] = mapped_column(ULID, primary_key=True)
    call_id: Mapped[str] = mapped_column(ID, primary_key=True)
    began: Mapped[int] = mapped_column(BigInteger)
    ended: Mapped[bool] = mapped_column(Boolean)
    result: Mapped[str] = mapped_column(Text)
    is_error: Mapped[bool] = mapped_column(Boolean)


class BackgroundResponseRow(Table):
    """A response that a model's server makes behind its request; see `records/background.py`.

    `key` is a hash of whose it is and of its id, `server` the provider that makes it, `model` what was asked for there,
    `team` in whose context; `trace_id` is the trace of the request, empty when none is kept; `ended` says that its end
    is counted and recorded.
    """

    __tablename__ = "background_responses"
    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    server: Mapped[str] = mapped_column(ID)
    model: Mapped[str] = mapped_column(String(200))
    team: Mapped[str] = mapped_column(ID)
    trace_id: Mapped[str] = mapped_column(ULID)
    began: Mapped[int] = mapped_column(BigInteger, index=True)
    ended: Mapped[bool] = mapped_column(Boolean)


class ToolGrantRow(Table):
    """What a tool server has let us do; see `records/toolgrants.py`. `secret` is sealed."""

    __tablename__ = "tool_server_grants"
    name: Mapped[str] = mapped_column(ID, primary_key=True)
    owner: Mapped[str] = mapped_column(ID, primary_key=True)
    secret: Mapped[str] = mapped_column(Text, default="")
    scope: Mapped[str] = mapped_column(Text, default="")
    problem: Mapped[str] = mapped_column(Text, default="")
    generation: Mapped[int] = mapped_column(Integer, default=0)
    lease: Mapped[str] = mapped_column(String(64), default="")
    lease_until: Mapped[int] = mapped_column(BigInteger, default=0)
    changed: Mapped[int] = mapped_column(BigInteger, default=0)
    changed_by: Mapped[str] = mapped_column(ID, default="")


class ToolSignInRow(Table):
    """Somebody on the way to sign in to a tool server; see `records/toolgrants.py`. `secret` is sealed."""

    __tablename__ = "tool_server_sign_ins"
    state: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(ID)
    owner: Mapped[str] = mapped_column(ID, default="")
    secret: Mapped[str] = mapped_column(Text)
    browser: Mapped[str] = mapped_column(String(64), default="")
    until: Mapped[int] = mapped_column(BigInteger)
    started_by: Mapped[str] = mapped_column(ID)
