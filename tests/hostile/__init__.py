"""Invented skills that harm, by category, and harmless ones that look alike. Half of the hostile ones were written
before the rules (`HELD_OUT`); nobody's rule was tuned on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmos_lite.core.skills.format import Skill


@dataclass(frozen=True)
class Sample:
    """A skill's folder, and what is expected of the scanner.

    Args:
        name: of the skill.
        category: that of the finding which has to be there; empty for a harmless one.
        files: by path, `SKILL.md` among them.
        severity: at least this.
    """

    name: str
    category: str
    files: Mapping[str, bytes]
    severity: str = "high"

    @property
    def skill(self) -> Skill:
        """Return it parsed."""
        return Skill.parse(self.name, self.files["SKILL.md"])


def sample(
    name: str,
    category: str,
    body: str,
    *,
    about: str = "Formats reports. Use when somebody asks for a weekly report.",
    front: str = "",
    severity: str = "high",
    **files: str | bytes,
) -> Sample:
    """Make a sample; `scripts__x_py` stands for the file `scripts/x.py`."""
    text = f"---\nname: {name}\ndescription: {about}\n{front}---\n\n# {name}\n\n{body}\n"
    folder = {_path(key): value if isinstance(value, bytes) else value.encode() for key, value in files.items()}
    return Sample(name, category, {"SKILL.md": text.encode(), **folder}, severity)


def _path(key: str) -> str:
    folder, _, name = key.rpartition("__")
    stem, _, end = name.rpartition("_")
    return "/".join(filter(None, (folder.replace("__", "/"), f"{stem}.{end}" if end != "none" else stem)))
