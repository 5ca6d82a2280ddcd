"""Which routes are recorded in the audit log, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Action:
    """What a route does.

    Args:
        name: dotted, as in `key.create`.
        target: what to, with names of the path, the query, the body or the answer in braces; `{volume}` is the actor's
            own when nothing names one.
        facts: what goes into the detail: names of what was asked, `>name` of what was answered, `name?` when only that
            it was given matters, as with personal data, `name*` for an address, whose credentials become stars. Nothing
            else is ever taken, so a secret is not.
        about: the volume that it concerns, when the target does not begin with it.
        quiet: only refusals are recorded, as for what merely reads.
        foreign: recorded only when a volume is read that is neither the actor's own nor of one of the actor's teams.
    """

    name: str
    target: str = ""
    facts: tuple[str, ...] = ()
    about: str = ""
    quiet: bool = False
    foreign: bool = False


ACTIONS: dict[str, Action] = {
    "POST /skills": Action("skill.create", "{volume}/{skill_id}", (">version",)),
    "PUT /skills/{skill_id}": Action("skill.update", "{volume}/{skill_id}", (">version",)),
    "PATCH /skills/{skill_id}": Action("skill.update", "{volume}/{skill_id}", (">version",)),
    "DELETE /skills/{skill_id}": Action("skill.delete", "{volume}/{skill_id}", (">commit",)),
    "POST /skills/{skill_id}/rename": Action("skill.rename", "{volume}/{skill_id}", ("new_id", ">version")),
    "POST /skills/{skill_id}/restore": Action("skill.restore", "{volume}/{skill_id}", ("version", ">commit")),
    "POST /templates/{template_id}/skills": Action("skill.create", "{volume}/{skill_id}", (">version",)),
    "POST /skills/promote": Action("skill.promote", "{skill_id}", ("team_id", "to", "from", "reason", ">status")),
    "POST /skills/import": Action("skill.import", "{volume}", ("source*", "ref", "replace", "dry_run", ">total")),
    "POST /skills/update": Action("skill.follow", "{volume}", ("force", "dry_run", ">total")),
    "PUT /skills/{skill_id}/pin": Action("skill.pin", "{volume}/{skill_id}", ("pinned", "ref", ">state")),
    "POST /skills/install": Action("skill.install", "{volume}", (">total", "replace")),
    "POST /proposals/{proposal_id}/merge": Action(
        "proposal.merge", "proposal:{proposal_id}", (">target", ">skill_id", ">author"), "{target}"
    ),
    "POST /proposals/{proposal_id}/close": Action(
        "proposal.close", "proposal:{proposal_id}", (">target", ">skill_id", ">author"), "{target}"
    ),
    "POST /proposals/{proposal_id}/comments": Action(
        "proposal.comment", "proposal:{proposal_id}", (">target", ">skill_id", ">author"), "{target}"
    ),
    "POST /proposals/{proposal_id}/reviews": Action(
        "proposal.review",
        "proposal:{proposal_id}",
        (">target", ">skill_id", ">author", "verdict", "digest"),
        "{target}",
    ),
    "POST /proposals/{proposal_id}/sign-off": Action(
        "proposal.sign_off",
        "proposal:{proposal_id}",
        (">target", ">skill_id", ">author", "reason", "digest"),
        "{target}",
    ),
    "POST /skills/lint": Action("skill.lint", quiet=True),
    "POST /skills/{skill_id}/sign-off": Action("skill.sign_off", "{volume}/{skill_id}", ("reason", "digest")),
    "POST /proposals/{proposal_id}/resolve": Action(
        "proposal.resolve", "proposal:{proposal_id}", (">target", ">skill_id", ">author"), "{target}"
    ),
    "POST /evolve": Action("evolution.run", "{scope}", ("team_id", ">run_id", ">state")),
    "GET /traces": Action("trace.list", "{volume}", foreign=True),
    "GET /traces/{trace_id}": Action("trace.read", "{volume}/{trace_id}", foreign=True),
    "GET /traces/export": Action("trace.export", "{volume}", foreign=True),
    "POST /traces/import": Action("trace.import", "{user}", ("format", ">run_id")),
    "DELETE /traces/{trace_id}": Action("trace.erase", "{volume}/{trace_id}", ("reason", ">erasure_id", ">traces")),
    "DELETE /users/{user_id}/traces": Action("user.forget", "user:{user_id}", ("reason", ">erasure_id", ">traces")),
    "POST /traces/{trace_id}/feedback": Action("trace.feedback", "{volume}/{trace_id}", ("rating",)),
    "POST /archives": Action("archive.create", "{volume}", ("month", ">traces")),
    "POST /archives/restore": Action("archive.restore", "{volume}", ("month", ">traces")),
    "PUT /volumes/policy": Action("volume.policy", "{volume}", ("review", "retention_days")),
    "GET /tool-servers": Action("tool_server.list", quiet=True),
    "GET /tool-servers/{name}/tools": Action("tool_server.tools", "{name}", quiet=True),
    "PUT /tool-servers/{name}": Action("tool_server.set", "{name}", ("url", "tools", "others", "teams", "users")),
    "DELETE /tool-servers/{name}": Action("tool_server.remove", "{name}"),
    "POST /tool-servers/{name}/sign-in": Action("tool_server.begin_sign_in", "{name}", (">issuer", ">scope")),
    "POST /tool-servers/{name}/sign-in/answer": Action("tool_server.sign_in", "{name}"),
    "GET /tool-servers/{name}/callback": Action("tool_server.sign_in", "{name}"),
    "DELETE /tool-servers/{name}/sign-in": Action("tool_server.sign_out", "{name}", ("user_id",)),
    "GET /providers": Action("provider.list", quiet=True),
    "PUT /providers/{name}": Action("provider.set", "{name}", ("kind", "url", "models")),
    "DELETE /providers/{name}": Action("provider.remove", "{name}"),
    "POST /volumes/{volume}/remotes": Action(
        "remote.create", "{volume}/{name}", ("url", "direction", "when", "traces", "trust")
    ),
    "PATCH /volumes/{volume}/remotes/{name}": Action(
        "remote.change", "{volume}/{name}", ("url", "direction", "when", "traces", "trust", "active")
    ),
    "DELETE /volumes/{volume}/remotes/{name}": Action("remote.remove", "{volume}/{name}"),
    "POST /volumes/{volume}/remotes/{name}/sync": Action("remote.sync", "{volume}/{name}", (">state",)),
    "PATCH /me": Action("user.change", "{volume}", ("name?", "record", "share")),
    "GET /users": Action("user.list", quiet=True),
    "POST /users": Action("user.create", "user:{user_id}", ("role",)),
    "PATCH /users/{user_id}": Action(
        "user.change", "user:{user_id}", ("name?", "record", "share", "role", "active", "email?")
    ),
    "GET /users/{user_id}": Action("user.read", "user:{user_id}", quiet=True),
    "GET /users/{user_id}/identities": Action("user.read", "user:{user_id}", quiet=True),
    "POST /users/{user_id}/identities": Action("user.identify", "user:{user_id}", ("provider", "subject")),
    "DELETE /users/{user_id}/identities": Action("user.unidentify", "user:{user_id}", ("provider", "subject")),
    "POST /keys": Action(
        "key.create", "key:{key_id}", (">user_id", "name", "scopes", "teams", "purpose", ">made_with", ">expires")
    ),
    "DELETE /keys/{key_id}": Action("key.revoke", "key:{key_id}"),
    "POST /invitations": Action("invitation.create", "invitation:{invitation_id}", ("team_id", "role", "name?")),
    "DELETE /invitations/{invitation_id}": Action("invitation.revoke", "invitation:{invitation_id}"),
    "POST /invitations/accept": Action("invitation.accept", "user:{user_id}", ("team_id",)),
    "POST /invitation": Action("invitation.accept"),
    "GET /invitations": Action("invitation.list", quiet=True),
    "PATCH /teams/{team_id}": Action("team.change", "team:{team_id}", ("name", "archived")),
    "DELETE /teams/{team_id}": Action("team.delete", "team:{team_id}"),
    "POST /teams": Action("team.create", "team:{team_id}", ("name",)),
    "POST /teams/{team_id}/members": Action("member.set", "team:{team_id}", ("user_id", "role")),
    "DELETE /teams/{team_id}/members/{user_id}": Action("member.remove", "team:{team_id}", ("user_id",)),
    "GET /backup": Action("instance.backup", "system"),
    "POST /reindex": Action("instance.reindex", "system", (">run_id",)),
    "POST /admin/maintain": Action("instance.maintain", "{volume}"),
    "POST /skills/scrub": Action(
        "skill.scrub", "{volume}", ("quoted", "reason", "diverge", "scrub_id", "commits", "objects")
    ),
    "POST /signing/rotate": Action("signing.rotate", "system"),
    "POST /signing/revoke": Action("signing.revoke", "system", ("fingerprint", "at")),
    "GET /audit": Action("audit.read", quiet=True),
    "GET /audit/export": Action("audit.export", "system"),
    "GET /audit/verify": Action("audit.verify", "system", (">ok", ">first_wrong", ">problem")),
    "GET /usage/all": Action("usage.list", quiet=True),
    "GET /limits": Action("limit.list", quiet=True),
    "PUT /limits/{subject}": Action("limit.set", "{subject}", ("requests", "streams", "tokens", "money")),
    "DELETE /limits/{subject}": Action("limit.unset", "{subject}"),
    "POST /sign-in": Action("sign_in.form"),
    "POST /sign-in/password": Action("sign_in.password", "user:{user}"),
    "POST /sign-in/link": Action("sign_in.link"),
    "POST /sign-in/refresh": Action("sign_in.refresh", quiet=True),
    "POST /sign-in/end": Action("sign_in.end"),
    "GET /sign-in/oidc/callback": Action("sign_in.oidc"),
    "POST /sign-in/rotate": Action("token.rotate", "system", ("kid",)),
    "POST /users/{user_id}/sign-in-link": Action("sign_in.make_link", "user:{user_id}"),
    "PUT /me/password": Action("password.set", "{volume}"),
    "DELETE /me/sessions/{session_id}": Action("session.end", "session:{session_id}"),
    "POST /sign-out": Action("sign_in.end"),
    "POST /try": Action("chat.try", quiet=True),
}
"""By method and path of the route."""

UNDECLARED = Action("request", "", quiet=True)
