"""Drafts of skills: by a model where there is one, always usable without."""

from __future__ import annotations

import asyncio
import logging

from llmos_lite.core.evolution.drafts import Material, SkillDraft, heuristic_draft
from llmos_lite.core.evolution.prompt import MOST_TOKENS, SYSTEM, UnusableDraftError, question, read
from llmos_lite.engines.llm import OFFLINE, ChatRequest, LanguageModel
from llmos_lite.errors import LlmosError

log = logging.getLogger("llmos.evolution")

MOST_SECONDS = 120.0
"""For one draft; the heuristic one takes over then."""
MOST_FAILURES = 2
"""Failures in a row after which a run asks the model no more: nights are short, and models that are down stay down."""


class SkillGenerator:
    """Writes drafts of skills.

    Args:
        model: None, or the offline model, writes without one.
        seconds: longest wait for one draft of the model.
    """

    def __init__(self, model: LanguageModel | None = None, *, seconds: float = MOST_SECONDS) -> None:
        self._model, self._seconds, self._failures = model, seconds, 0

    def begin_run(self) -> None:
        """Forget the model's failures of the run before."""
        self._failures = 0

    async def generate_skill_from_pattern(self, material: Material) -> SkillDraft:
        """Return a draft; never raises because of the model."""
        basis = await asyncio.to_thread(heuristic_draft, material)
        if self._model is None or self._model.name == OFFLINE or self._failures >= MOST_FAILURES:
            return basis
        try:
            draft = await self._ask(self._model, material, basis)
        except (LlmosError, UnusableDraftError, TimeoutError) as error:
            self._failures += 1
            log.warning("a draft is written without the model: %s", error or type(error).__name__)
            return basis
        self._failures = 0
        return draft

    async def _ask(self, model: LanguageModel, material: Material, basis: SkillDraft) -> SkillDraft:
        request = ChatRequest(
            messages=[{"role": "user", "content": question(material)}],
            system=SYSTEM,
            max_tokens=MOST_TOKENS,
            temperature=0.2,
        )
        async with asyncio.timeout(self._seconds):
            completion = await model.complete(request)
        if completion.model == OFFLINE:
            return basis
        return read(completion.text, basis, f"model:{completion.model or model.name}")
