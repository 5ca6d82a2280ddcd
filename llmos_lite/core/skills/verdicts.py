"""Verdicts of scanners, kept in a file: what was looked at is not looked at again after a start, by the same rules.

The file is named by the rules. A line is added for each version; one that is not as it was written counts for nothing.
It can be made again at any time, and is never worth an error.
"""

from __future__ import annotations

import hashlib
import os
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

import msgspec

from llmos_lite.core.skills import format as skill_format
from llmos_lite.core.skills import frontmatter, scan
from llmos_lite.core.skills.scan import Scanner
from llmos_lite.core.skills.watched import plugin_of
from llmos_lite.engines.durable import make_folder

Codes: TypeAlias = tuple[str, ...]
"""What stands against a version, sorted; nothing for a clean one."""
_END = ".verdicts"


def rules_of(scanners: Mapping[str, Scanner]) -> str:
    """Return a digest of all that scanners say things by: another one may come to another verdict.

    The code of each scanner counts, all files of its package, and its attribute `version`, for one whose rules lie
    elsewhere; and how a skill is read.
    """
    digest = hashlib.sha256(repr(sys.version_info[:2]).encode())
    for module in (skill_format, frontmatter, scan):
        _add(digest, module)
    for name, scanner in sorted((name, plugin_of(one)) for name, one in scanners.items()):
        said = (name, type(scanner).__qualname__, getattr(scanner, "version", ""))
        digest.update(repr(said).encode("utf-8", "replace"))
        if (found := sys.modules.get(type(scanner).__module__)) is not None:
            _add(digest, found, whole=True)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, module: ModuleType, *, whole: bool = False) -> None:
    path = Path(str(getattr(module, "__file__", "")))
    files = [path] if path.suffix == ".py" else []
    if whole and (path.parent / "__init__.py").exists():
        files = sorted(one for one in path.parent.rglob("*") if one.is_file() and one.parent.name != "__pycache__")
    for file in files:
        digest.update(file.relative_to(path.parent).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")


class Verdicts:
    """The verdicts by one set of rules.

    Args:
        folder: where the file is; made when there is something to keep.
        rules: see `rules_of`.
        most: that are kept.
    """

    def __init__(self, folder: Path, rules: str, most: int) -> None:
        self._path, self._most = folder / f"{rules[:40]}{_END}", most

    def read(self) -> dict[str, Codes]:
        """Return the verdicts by version, the last ones; files of other rules are removed."""
        try:
            for other in self._path.parent.glob(f"*{_END}"):
                if other != self._path:
                    other.unlink(missing_ok=True)
            lines = self._path.read_bytes().splitlines()
            found = dict(islice(_decoded(lines), max(0, len(lines) - self._most), None))
            if len(lines) > 2 * self._most:
                self._path.unlink()
                self.add(found)
        except OSError:
            return {}
        return found

    def add(self, verdicts: Mapping[str, Codes]) -> None:
        """Keep verdicts; where the disk takes nothing, they are found again."""
        data = b"".join(_encoded(version, codes) for version, codes in verdicts.items())
        try:
            make_folder(self._path.parent, 0o700)
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(file, data)
            finally:
                os.close(file)
        except OSError:
            return


def _encoded(version: str, codes: Codes) -> bytes:
    said = msgspec.json.encode((version, *codes))
    return b"%s %08x\n" % (said, zlib.crc32(said))


def _decoded(lines: list[bytes]) -> Iterator[tuple[str, Codes]]:
    decode = msgspec.json.Decoder(list[str]).decode
    for line in lines:
        said, _, check = line.rpartition(b" ")
        if said and check == b"%08x" % zlib.crc32(said):
            with suppress(msgspec.MsgspecError, ValueError):  # another version may say it in another form
                version, *codes = decode(said)
                yield version, tuple(codes)
