"""A scanner: a skill that pipes a download into a shell is refused."""

import re
from collections.abc import Iterator

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.scan import Finding, Severity

PIPE = re.compile(r"\b(curl|wget)\b[^\n|]{0,200}\|\s{0,9}(sudo\s{1,9})?(ba|z)?sh\b")


class PipesToShell:
    """Looks at each skill; `high` keeps it out of chats and blocks promotion, anything less is shown."""

    def scan(self, skill: Skill) -> Iterator[Finding]:
        """Yield a finding for each line that runs what it downloads."""
        for number, line in enumerate(skill.body.splitlines(), 1):
            if PIPE.search(line):
                yield Finding("shell.pipe", Severity.HIGH, f"Line {number} of the body runs a download unseen.")
