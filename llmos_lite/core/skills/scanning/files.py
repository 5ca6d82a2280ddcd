"""The files of a skill as texts, within bounds; nothing is left out for looking like a binary."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from llmos_lite.core.skills.scan import Category, Finding, Severity
from llmos_lite.core.skills.scanning.folder import PROGRAMS, TEXT, is_binary, is_named_text
from llmos_lite.core.skills.scanning.lines import Lines
from llmos_lite.volumes.skill_paths import FILE

LARGEST = 1 << 20
"""Bytes of a file that are looked at."""
MOST = 8 << 20
"""Bytes of a skill that are looked at, its Markdown and programs first."""
_READABLE = re.compile(rb"[\t\n\r -~]{8,4000}")
"""What of a binary a person could read."""
_HALF = 0.3
"""Share of NULs on one side from which a text without a mark is taken for UTF-16."""


@dataclass(frozen=True)
class TextFile:
    """A file as rules read it.

    Args:
        path: in the skill's folder.
        text: what can be read of it.
        is_binary: whether that is only what stands readable in a binary.
    """

    path: str
    text: str
    is_binary: bool = False

    @property
    def is_markdown(self) -> bool:
        """Tell whether it is prose, in which code stands in fences."""
        return PurePosixPath(self.path).suffix.lower() in TEXT and not self.text.startswith("#!")

    @property
    def is_program(self) -> bool:
        """Tell whether all of it is code."""
        return PurePosixPath(self.path).suffix.lower() in PROGRAMS or self.text.startswith("#!")

    @cached_property
    def lines(self) -> Lines:
        """Return its lines."""
        return Lines(self.text)


def texts(files: Mapping[str, bytes]) -> tuple[list[TextFile], list[Finding]]:
    """Return the files as texts, within bounds, and a finding for what is beyond them."""
    found, cut, left = list[TextFile](), list[Finding](), MOST
    for path in sorted(files, key=lambda path: _order(path, files[path])):
        data, named = files[path], is_named_text(path, files[path])
        binary = is_binary(data) and not named
        most = min(left, LARGEST)
        if len(data) > most and not binary:
            cut.append(_beyond(path))
        left -= min(len(data), most)
        said = [_readable(data[:most])] if binary else readings(data[:most])
        found += [TextFile(path, one, binary) for one in said]
    return found, cut


def readings(data: bytes) -> list[str]:
    """Return what a text says without its NULs, which some readers pass over; and what it says in UTF-16."""
    if b"\0" not in data:
        return [data.decode("utf-8", "replace")]
    wide = _wide(data)
    plain = data.replace(b"\0", b"").decode("utf-8", "replace")
    return [data.decode(wide, "replace").replace("\0", ""), plain] if wide else [plain]


def _wide(data: bytes) -> str:
    """Return the name of the UTF-16 that a text is in; empty for none."""
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    half = max(1, len(data) // 2)
    if data[1::2].count(0) > _HALF * half and data[::2].count(0) == 0:
        return "utf-16-le"
    return "utf-16-be" if data[::2].count(0) > _HALF * half and data[1::2].count(0) == 0 else ""


def _readable(data: bytes) -> str:
    return "\n".join(one.decode() for one in _READABLE.findall(data.replace(b"\0", b"")))


def _order(path: str, data: bytes) -> tuple[bool, bool, bool, str]:
    return path != FILE, PurePosixPath(path).suffix.lower() not in PROGRAMS, is_binary(data), path


def _beyond(path: str) -> Finding:
    program = PurePosixPath(path).suffix.lower() in PROGRAMS
    severity = Severity.HIGH if program else Severity.MEDIUM
    return Finding(
        "file.too_large", severity, "It is too large to be looked through.", file=path, category=Category.BINARY
    )
