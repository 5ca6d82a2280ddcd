"""Each skill as a prompt, which most clients show as a command: the skill's text, and what the person wants of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_types import (
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    PaginatedRequestParams,
    Prompt,
    PromptArgument,
    PromptMessage,
    TextContent,
)

from llmos_lite.api.mcp import Caller
from llmos_lite.api.mcp_tools import loaded
from llmos_lite.core.skills.format import Skill

if TYPE_CHECKING:
    from llmos_lite.bootstrap import Services

PAGE = 100
REQUEST = PromptArgument(name="request", description="What you want, in your own words.", required=False)


class Prompts:
    """Lists and fills them.

    Args:
        services: of the instance.
    """

    def __init__(self, services: Services) -> None:
        self._served, self._skills = services.served, services.skills

    async def listed(self, caller: Caller, params: PaginatedRequestParams | None) -> ListPromptsResult:
        """Answer `prompts/list`."""
        cursor = (params.cursor if params else "") or ""
        page = await self._served.page_of_names(caller.actor, caller.team_id, limit=PAGE, cursor=cursor)
        return ListPromptsResult(prompts=[_prompt(skill) for skill in page.items], next_cursor=page.next_cursor)

    async def got(self, caller: Caller, params: GetPromptRequestParams) -> GetPromptResult:
        """Answer `prompts/get`."""
        view, text = await loaded(self._skills, caller, params.name)
        request = (params.arguments or {}).get("request", "").strip()
        said = f"{text}\n\n{request}" if request else text
        message = PromptMessage(role="user", content=TextContent(text=said))
        return GetPromptResult(description=view.skill.description, messages=[message])


def _prompt(skill: Skill) -> Prompt:
    return Prompt(name=skill.skill_id, title=skill.name, description=skill.description, arguments=[REQUEST])
