"""The scanner of the house under its name, without the 50 ms that its patterns take to compile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.scan import Finding, Scanner

if TYPE_CHECKING:
    from llmos_lite.core.skills.scanning.pack import RulePack

NAME = "llmos"


class HouseRules:
    """The rules of the house; compiled when the first skill is looked at."""

    def scan(self, skill: Skill) -> Iterable[Finding]:
        """See `RulePack.scan`."""
        return self._pack.scan(skill)

    def scan_folder(self, skill: Skill, files: Mapping[str, bytes]) -> Iterable[Finding]:
        """See `RulePack.scan_folder`."""
        return self._pack.scan_folder(skill, files)

    @cached_property
    def _pack(self) -> RulePack:
        from llmos_lite.core.skills.scanning.pack import RulePack  # noqa: PLC0415 - compiles its patterns

        return RulePack()


def with_house_rules(scanners: Mapping[str, Scanner]) -> dict[str, Scanner]:
    """Return scanners with those of the house first."""
    return {NAME: HouseRules(), **scanners}
