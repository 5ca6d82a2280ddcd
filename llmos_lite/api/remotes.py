"""Remotes: other repositories that a volume is mirrored to and pulled from."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field, JsonValue

from llmos_lite.api.deps import Body, Has, Listing, Paragraph, SkillReader, SkillWriter
from llmos_lite.api.openapi import answers
from llmos_lite.core.remotes.service import LONGEST_SECRET, RemoteView, Secret
from llmos_lite.volumes.access import VolumeRef

router = APIRouter(route_class=Paragraph, tags=["remotes"])

_REMOTE = {
    "volume": "team:sre",
    "name": "github",
    "url": "https://github.com/example/sre-skills.git",
    "branch": "main",
    "traces": False,
    "direction": "both",
    "when": "commit",
    "cron": "",
    "trust": False,
    "active": True,
    "credential": "token",
    "username": "git",
    "public_key": "",
    "state": "ok",
    "problem": "",
    "ahead": 0,
    "behind": 0,
    "tried": 1764720000000,
    "succeeded": 1764720000000,
    "next_try": 0,
    "running": False,
    "proposal_branch": "",
    "erasing": False,
}
_NEW: dict[str, JsonValue] = {
    "name": "github",
    "url": "https://github.com/example/sre-skills.git",
    "direction": "both",
    "credential": {"username": "git", "token": "…"},
}
_CHANGE: dict[str, JsonValue] = {"when": "schedule", "cron": "0 * * * *"}

Volume = Annotated[str, Path(max_length=80, description="`system`, `team:ID` or `user:ID`.")]
Name = Annotated[str, Path(max_length=64, description="Name of the remote.")]
Direction = Literal["push", "pull", "both"]
When = Literal["commit", "schedule", "manual"]

_URL = "`https://…`, `ssh://…` or `git@host:path`, without a user name or password of HTTP."
_CRON = "Five fields, UTC, for `schedule`."
_TRUST = "Take what is pulled though the volume asks for reviews; set by a system admin."
_TRACES = "Mirror the traces instead of the skills; they hold what people said."


class Credential(Body):
    """What opens the remote: one of a token, an SSH key, and a variable; it is never shown again."""

    username: str = Field("", max_length=200, description="For HTTP; `git` when left out.")
    token: str = Field("", max_length=LONGEST_SECRET, description="A token or password for HTTP.")
    ssh_key: str = Field("", max_length=LONGEST_SECRET, description="A private key; `new` makes one here.")
    variable: str = Field("", max_length=200, description="`LLMOS_REMOTE_…` of the server's; by a system admin.")

    def __repr__(self) -> str:
        return "Credential(…)"

    @property
    def secret(self) -> Secret:
        """Return it as core takes it."""
        return Secret(self.username, self.token, self.ssh_key, self.variable)


class NewRemote(Body):
    """A remote to add."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [_NEW]}}
    name: str = Field(max_length=64)
    url: str = Field(max_length=1000, description=_URL)
    branch: str = Field("main", max_length=200, description="The branch there.")
    traces: bool = Field(False, description=_TRACES)  # noqa: FBT003 - pydantic's way to write a default
    direction: Direction = "push"
    when: When = "commit"
    cron: str = Field("", max_length=100, description=_CRON)
    trust: bool = Field(False, description=_TRUST)  # noqa: FBT003 - as above
    active: bool = True
    credential: Credential | None = None


class RemoteChange(Body):
    """What is to change; what is left out stays, and `credential: null` takes it away."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [_CHANGE]}}
    url: str | None = Field(None, max_length=1000, description=_URL)
    branch: str | None = Field(None, max_length=200)
    traces: bool | None = Field(None, description=_TRACES)
    direction: Direction | None = None
    when: When | None = None
    cron: str | None = Field(None, max_length=100, description=_CRON)
    trust: bool | None = Field(None, description=_TRUST)
    active: bool | None = None
    credential: Credential | None = None


class RemoteOut(BaseModel):
    """A remote and how it stands; times are in ms since the epoch, 0 for never.

    `state` is `new`, `ok`, `proposed` (ahead of us, which waits for a review as `proposal_branch`), `diverged`,
    `refused` (one side does not take what the other has) or `failed`; `problem` says why. `ahead` and `behind` count
    commits, as of the last look. `erasing`: a mirror of traces has still to be told of an erasure. `credential` is its
    kind, for admins of the volume.
    """

    volume: str
    name: str
    url: str
    branch: str
    traces: bool
    direction: Direction
    when: When
    cron: str
    trust: bool
    active: bool
    credential: str
    username: str
    public_key: str
    state: str
    problem: str
    ahead: int
    behind: int
    tried: int
    succeeded: int
    next_try: int
    running: bool
    proposal_branch: str
    erasing: bool

    @classmethod
    def of(cls, view: RemoteView) -> RemoteOut:
        """Show a remote."""
        row = view.row
        own = {name: getattr(row, name) for name in cls.model_fields if hasattr(row, name)}
        shown = {"when": row.timing, "running": view.running, "proposal_branch": view.proposal}
        return cls.model_validate(own | shown | {"erasing": bool(row.erasing)})


@router.get("/volumes/{volume}/remotes", responses=answers({"items": [_REMOTE], "next_cursor": None, "total": 1}, 404))
async def list_remotes(actor: SkillReader, services: Has, volume: Volume) -> Listing[RemoteOut]:
    """List the remotes of a volume that you may read, and how they stand."""
    found = await services.remotes.listed(actor, VolumeRef.parse(volume))
    return Listing(items=[RemoteOut.of(one) for one in found], next_cursor=None, total=len(found))


@router.get("/volumes/{volume}/remotes/{name}", responses=answers(_REMOTE, 404))
async def get_remote(actor: SkillReader, services: Has, volume: Volume, name: Name) -> RemoteOut:
    """Show a remote of a volume, and how it stands."""
    return RemoteOut.of(await services.remotes.get(actor, VolumeRef.parse(volume), name))


@router.post("/volumes/{volume}/remotes", status_code=201, responses=answers(_REMOTE, 404, 409, 502, status=201))
async def add_remote(actor: SkillWriter, services: Has, volume: Volume, body: NewRemote) -> RemoteOut:
    """Add a remote, as an admin of the volume; it is looked at for the first time in the background."""
    secret = body.credential.secret if body.credential else None
    ref = VolumeRef.parse(volume)
    return RemoteOut.of(await services.remotes.add(actor, ref, body.name, _values(body), secret))


@router.patch("/volumes/{volume}/remotes/{name}", responses=answers(_REMOTE, 404, 502))
async def change_remote(actor: SkillWriter, services: Has, volume: Volume, name: Name, body: RemoteChange) -> RemoteOut:
    """Change a remote, as an admin of the volume; another host needs the credential again."""
    ref, given = VolumeRef.parse(volume), body.credential
    without = given is None and "credential" in body.model_fields_set
    secret = given.secret if given else None
    changed = await services.remotes.change(actor, ref, name, _values(body), secret=secret, without_secret=without)
    return RemoteOut.of(changed)


@router.delete(
    "/volumes/{volume}/remotes/{name}", status_code=204, responses=answers(None, 404, status=204, description="Gone.")
)
async def remove_remote(actor: SkillWriter, services: Has, volume: Volume, name: Name) -> None:
    """Take a remote away, as an admin of the volume; what is there stays there."""
    await services.remotes.remove(actor, VolumeRef.parse(volume), name)


@router.post("/volumes/{volume}/remotes/{name}/sync", responses=answers(_REMOTE, 404))
async def sync_remote(actor: SkillWriter, services: Has, volume: Volume, name: Name) -> RemoteOut:
    """Push to a remote and pull from it now, as an admin of the volume; `running` says that it takes longer."""
    return RemoteOut.of(await services.remotes.sync(actor, VolumeRef.parse(volume), name))


def _values(body: NewRemote | RemoteChange) -> dict[str, str | bool]:
    """Return what is said of a remote, as core names it."""
    said = body.model_dump(exclude={"name", "credential"}, exclude_unset=True, exclude_none=True)
    return {("timing" if key == "when" else key): value for key, value in said.items()}
