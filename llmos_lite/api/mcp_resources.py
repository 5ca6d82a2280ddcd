"""Skills as resources: every file has an address; SKILL.md bears the name and description of its front matter."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from mcp_types import (
    BlobResourceContents,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    ResourceTemplateReference,
    TextResourceContents,
)

from llmos_lite.api.mcp import Caller
from llmos_lite.core.skills.served import ServedFile, ServedSkill
from llmos_lite.core.skills.uris import SkillUri
from llmos_lite.errors import NotFound
from llmos_lite.volumes.access import SYSTEM, VolumeRef, check_id
from llmos_lite.volumes.skill_paths import FILE

if TYPE_CHECKING:
    from llmos_lite.bootstrap import Services

PAGE = 50
"""Skills whose files one answer lists."""
MOST_COMPLETED = 100
FOLDER = "inode/directory"
MARKDOWN = "text/markdown"
META = "io.modelcontextprotocol.skills/"
TEMPLATES = {
    "system": "skill://system/{skill}/{+path}",
    "team": "skill://teams/{team}/{skill}/{+path}",
    "user": "skill://users/{user}/{skill}/{+path}",
}
_TYPES = mimetypes.MimeTypes()
for _ending, _kind in {
    ".md": MARKDOWN,
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".toml": "application/toml",
    ".jsonl": "application/jsonl",
    ".ts": "text/typescript",
}.items():
    _TYPES.add_type(_kind, _ending)


class Resources:
    """Lists, reads and completes them.

    Args:
        services: of the instance.
    """

    def __init__(self, services: Services) -> None:
        self._served, self._skills = services.served, services.skills

    async def listed(self, caller: Caller, params: PaginatedRequestParams | None) -> ListResourcesResult:
        """Answer `resources/list`: the files of one skill after the other, by id."""
        cursor = (params.cursor if params else "") or ""
        page = await self._served.page(caller.actor, caller.team_id, limit=PAGE, cursor=cursor)
        found = [resource for served in page.items for resource in resources_of(served)]
        return ListResourcesResult(resources=found, next_cursor=page.next_cursor)

    async def templates(self, caller: Caller, params: PaginatedRequestParams | None) -> ListResourceTemplatesResult:
        """Answer `resources/templates/list`: one for each kind of volume that the caller sees."""
        del params  # there is one page
        refs = _refs(caller)
        kinds = [kind for kind in TEMPLATES if any(ref.kind == kind for ref in refs)]
        found = [
            ResourceTemplate(
                name=f"{kind}-skill-file",
                title=f"A file of a {kind}'s skill" if kind != "system" else "A file of a skill for everybody",
                uri_template=TEMPLATES[kind],
            )
            for kind in kinds
        ]
        return ListResourceTemplatesResult(resource_templates=found)

    async def read(self, caller: Caller, params: ReadResourceRequestParams) -> ReadResourceResult:
        """Answer `resources/read`: text as text, anything else as base64."""
        uri = SkillUri.parse(params.uri)
        served, data = await self._served.read(caller.actor, uri, caller.team_id)
        meta = _meta(served) if uri.path == FILE else None
        return ReadResourceResult(contents=[contents(params.uri, uri.path, data, meta)])

    async def completed(self, caller: Caller, params: CompleteRequestParams) -> CompleteResult:
        """Answer `completion/complete`: the names that a template's variable may have."""
        ref, argument = params.ref, params.argument
        if not isinstance(ref, ResourceTemplateReference) or ref.uri not in TEMPLATES.values():
            return _completion([], "")
        kind = next(kind for kind, template in TEMPLATES.items() if template == ref.uri)
        given = dict((params.context.arguments if params.context else None) or {})
        try:
            return _completion(await self._names(caller, kind, argument.name, given), argument.value)
        except NotFound:
            return _completion([], "")

    async def _names(self, caller: Caller, kind: str, name: str, given: Mapping[str, str]) -> Iterable[str]:
        refs = [ref for ref in _refs(caller) if ref.kind == kind]
        if name == kind:
            return [ref.id for ref in refs]
        ref = next((ref for ref in refs if not ref.id or ref.id == given.get(kind, "")), None)
        if ref is None:
            return []
        if name == "skill":
            usable = await self._served.usable(caller.actor, caller.team_id)
            return [one.skill_id for one in usable if one.volume == str(ref)]
        if name != "path":
            return []
        uri = SkillUri.parse(str(SkillUri(ref, check_id(given.get("skill", "x"), "skill"))))
        return (await self._served.get(caller.actor, uri, caller.team_id)).files


def resources_of(served: ServedSkill) -> list[Resource]:
    """Return every file of a skill, SKILL.md first."""
    front = served.frontmatter
    return [
        Resource(
            uri=str(served.uri),
            name=str(front["name"]),
            title=served.skill.name,
            description=str(front["description"]),
            mime_type=MARKDOWN,
            size=file.size,
            _meta=_meta(served),
        )
        if file.path == FILE
        else file_resource(served.uri.at(file.path), file, f"{served.skill.skill_id}/{file.path}")
        for file in served.files.values()
    ]


def file_resource(uri: SkillUri, file: ServedFile, name: str = "") -> Resource:
    """Return a file; its name is the last part of its path, unless another is given."""
    return Resource(
        uri=str(uri), name=name or file.path.rpartition("/")[2], mime_type=type_of(file.path), size=file.size
    )


def folder_resource(uri: str, name: str) -> Resource:
    """Return a folder."""
    return Resource(uri=uri, name=name, mime_type=FOLDER)


def type_of(path: str) -> str | None:
    """Return what a file's name says of its content, None for nothing."""
    return _TYPES.guess_type(path)[0]


def contents(
    uri: str, path: str, data: bytes, meta: dict[str, str] | None = None
) -> TextResourceContents | BlobResourceContents:
    """Return a file's content."""
    kind = type_of(path)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        blob = base64.b64encode(data).decode()
        return BlobResourceContents(uri=uri, mime_type=kind or "application/octet-stream", blob=blob, _meta=meta)
    return TextResourceContents(uri=uri, mime_type=kind or "text/plain", text=text, _meta=meta)


def _meta(served: ServedSkill) -> dict[str, str]:
    return {f"{META}version": served.skill.version, f"{META}volume": served.skill.volume}


def _refs(caller: Caller) -> list[VolumeRef]:
    actor = caller.actor
    teams = [caller.team_id] if caller.team_id else sorted(actor.teams)
    return list(dict.fromkeys([SYSTEM, *map(VolumeRef.team, teams), actor.volume]))


def _completion(names: Iterable[str], begun: str) -> CompleteResult:
    found = sorted(name for name in names if name.startswith(begun))
    shown = found[:MOST_COMPLETED]
    return CompleteResult(completion=Completion(values=shown, total=len(found), has_more=len(found) > len(shown)))
