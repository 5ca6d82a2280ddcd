"""The skills extension of the protocol, `io.modelcontextprotocol/skills` (SEP-2640): list, get, read a directory.

The protocol's package has none; this one knows who asks, which its own registry of extensions does not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

from mcp_types import PaginatedRequestParams, RequestParams

from llmos_lite.api.mcp import Caller
from llmos_lite.api.mcp_resources import file_resource, folder_resource
from llmos_lite.core.skills.served import ServedSkill, ServedSkills
from llmos_lite.core.skills.uris import SCHEME, SkillUri, not_served
from llmos_lite.errors import Invalid
from llmos_lite.volumes.access import VolumeKind

EXTENSION = "io.modelcontextprotocol/skills"
PAGE = 50
"""Skills of one answer."""
CHILDREN = 200
"""Files and folders of one answer."""
TTL_MS = 30_000
COMPLETE: Mapping[str, object] = {"resultType": "complete"}
CACHED: Mapping[str, object] = {**COMPLETE, "ttlMs": TTL_MS, "cacheScope": "private"}

Result: TypeAlias = dict[str, Any]
Handler: TypeAlias = Callable[[Caller, Any], Awaitable[Result]]


class GetSkillParams(RequestParams):
    """Which skill: the address of its SKILL.md."""

    uri: str


class ReadDirectoryParams(PaginatedRequestParams):
    """Which folder."""

    uri: str


class SkillsExtension:
    """Its three methods.

    Args:
        served: the skills.
    """

    settings: ClassVar[dict[str, Any]] = {"directoryRead": True}

    def __init__(self, served: ServedSkills) -> None:
        self._served = served

    def methods(self) -> Sequence[tuple[str, type[RequestParams], Handler]]:
        """Return each method with its parameters and what answers it."""
        return (
            ("skills/list", PaginatedRequestParams, self.listed),
            ("skills/get", GetSkillParams, self.got),
            ("resources/directory/read", ReadDirectoryParams, self.directory),
        )

    async def listed(self, caller: Caller, params: PaginatedRequestParams) -> Result:
        """Answer `skills/list`: what the caller uses, each skill with all its files."""
        page = await self._served.page(caller.actor, caller.team_id, limit=PAGE, cursor=params.cursor or "")
        more = {"nextCursor": page.next_cursor} if page.next_cursor else {}
        return {"skills": [entry(one) for one in page.items], **more, **CACHED}

    async def got(self, caller: Caller, params: GetSkillParams) -> Result:
        """Answer `skills/get`."""
        uri = SkillUri.parse(params.uri)
        served = await self._served.get(caller.actor, uri, caller.team_id)
        if uri != served.uri:
            raise not_served(params.uri)
        return {"skill": entry(served), **CACHED}

    async def directory(self, caller: Caller, params: ReadDirectoryParams) -> Result:
        """Answer `resources/directory/read`: the direct children of a folder of a skill, or of a volume."""
        children = await self._children(caller, params.uri)
        start = _place(params.cursor, len(children))
        more = {"nextCursor": str(start + CHILDREN)} if start + CHILDREN < len(children) else {}
        return {"resources": children[start : start + CHILDREN], **more, **COMPLETE}

    async def _children(self, caller: Caller, text: str) -> list[Result]:
        if text in {f"{SCHEME}teams", f"{SCHEME}users"}:
            return await self._volumes(caller, VolumeKind(text[len(SCHEME) : -1]))
        uri = SkillUri.parse(text)
        found = await self._served.folder(caller.actor, uri, caller.team_id)
        return [
            _dumped(folder_resource(f"{text}/{name}", name) if file is None else file_resource(uri.at(file.path), file))
            for name, file in found.items()
        ]

    async def _volumes(self, caller: Caller, kind: VolumeKind) -> list[Result]:
        usable = await self._served.usable(caller.actor, caller.team_id)
        names = sorted({one.volume.partition(":")[2] for one in usable if one.volume.startswith(f"{kind}:")})
        return [_dumped(folder_resource(f"{SCHEME}{kind}s/{name}", name)) for name in names]


def entry(served: ServedSkill) -> Result:
    """Return a skill as the extension describes it."""
    files = [
        {"uri": str(served.uri.at(file.path)), "digest": file.digest, "size": file.size}
        for file in served.files.values()
    ]
    return {"uri": str(served.uri), "frontmatter": dict(served.frontmatter), "resources": files}


def _dumped(resource: Any) -> Result:  # noqa: ANN401 - one of the package's models
    return dict(resource.model_dump(by_alias=True, mode="json", exclude_none=True))


def _place(cursor: str | None, most: int) -> int:
    text = cursor or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 7 and int(text) <= most):  # noqa: PLR2004 - digits
        raise Invalid("cursor.invalid", "The cursor is none of ours.", hint="Start again without a cursor.")
    return int(text)
