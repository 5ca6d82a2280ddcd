"""What a push may bring: the same rules as for a skill that comes over the API, said with file and line.

Every commit of a push stays in the history, so each is looked at for what may never be in a volume (links,
submodules, strange paths, what a scanner calls dangerous). Whether the skills are well written counts in the last one.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from llmos_lite.core.skills import frontmatter
from llmos_lite.core.skills.format import LARGEST_FILE, Skill
from llmos_lite.core.skills.install import MOST_SKILL_BYTES, MOST_SKILL_FILES
from llmos_lite.core.skills.lint.rules import lint
from llmos_lite.core.skills.scan import Finding, Scanner, Severity, findings
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.engines.git import METADATA
from llmos_lite.engines.git_incoming import Incoming
from llmos_lite.engines.git_objects import FOLDER_MODE, Item
from llmos_lite.errors import Invalid, LlmosError
from llmos_lite.volumes.access import ID_LENGTH, check_id
from llmos_lite.volumes.skill_paths import FILE, FOLDER, LOCK, TEMPLATES, folder_path, skill_of

MOST_COMMITS = 10_000
"""Commits of one push."""
MOST_PROBLEMS = 30
"""Problems that are told; the rest is counted."""
LARGEST_MEMORY = 1 << 20
"""Bytes of a file outside the skills."""

LATEST = 24 * 3600 * 1000
"""Milliseconds that a commit may be dated ahead of the server's clock."""

_SCRUBBED = "what was taken out of this volume's history: delete your clone, and clone again"
_NAMED_AT_TOP = ("README.md", "LICENSE", "LICENSE.md", "LICENSE.txt", "CHANGELOG.md", "CONTRIBUTING.md", "AGENTS.md")
_AT_TOP = frozenset({METADATA, LOCK, *_NAMED_AT_TOP})
_KINDS = {b"120000": "is a symbolic link", b"160000": "is a submodule"}
_LINE = re.compile(r" ?\(line (\d+)\)")
_IN_FLAT, _IN_FOLDER = 1, 2
"""Slashes in the path of a flat skill, and of a skill's `SKILL.md`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a push is refused.

    Args:
        path: of the file; empty for the whole.
        text: what is wrong, as half a sentence.
        line: in the file, from 1; 0 when it is about all of it.
        commit: the commit that has it, when it is not the last.
    """

    path: str
    text: str
    line: int = 0
    commit: str = ""

    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        place = f"{self.path[:200]}{line}: " if self.path else ""
        found_in = f"commit {self.commit[:10]}: " if self.commit else ""
        return plain(f"{found_in}{place}{self.text}")


def plain(text: str) -> str:
    """Return text that does nothing to a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def told(problems: Sequence[Problem]) -> list[str]:
    """Return problems as lines for the person who pushed."""
    lines = [str(problem) for problem in problems[:MOST_PROBLEMS]]
    rest = len(problems) - len(lines)
    return [*lines, *([f"... and {rest} more."] if rest > 0 else [])]


class PushCheck:
    """Looks through what a push brought.

    Args:
        incoming: the objects.
        scanners: look at every skill.
        may_set_policy: whether the person decides over the volume.
        stands: tells whether somebody signed a version of a skill off; None where an unsafe skill may come in, since it
            waits there for a review, or serves nobody else.
        scrubbed: ids of files and commits that were taken out of the volume's history.
    """

    def __init__(
        self,
        incoming: Incoming,
        scanners: Mapping[str, Scanner],
        *,
        may_set_policy: bool,
        stands: Callable[[str], bool] | None,
        scrubbed: Collection[str] = (),
    ) -> None:
        self._incoming, self._scanners, self._may_set_policy = incoming, scanners, may_set_policy
        self._scrubbed, self._stands = scrubbed, stands
        self.warnings: list[Problem] = []
        self._known: set[tuple[str, Item]] = set()

    def problems(self, base: str, new: str) -> list[Problem]:
        """Return why the commits after `base`, up to `new`, are refused; nothing when they may come in."""
        commits = list(self._incoming.new_commits(new, base))
        if len(commits) > MOST_COMMITS:
            return [Problem("", f"This push has {len(commits):,} commits; {MOST_COMMITS:,} are the most.")]
        latest = now_ms() + LATEST
        late = [Problem("", "is dated in the future", commit=one.oid) for one in commits if one.time > latest]
        old = [Problem("", f"holds {_SCRUBBED}", commit=one.oid) for one in commits if one.oid in self._scrubbed]
        found = [*late, *old, *self._dangers(base, new, "")]
        for commit in commits:
            if commit.oid != new:
                found += self._dangers(commit.parents[0] if commit.parents else "", commit.oid, commit.oid)
        return found or [*self._faults(base, new)] or self._unsafe(base, new)

    # What may never be in a volume

    def _dangers(self, old: str, new: str, commit: str) -> Iterator[Problem]:
        for path in self._incoming.changed(old, new):
            try:
                item = self._incoming.item(new, path)
            except Invalid:
                yield Problem(path, "is not a path that a volume takes", commit=commit)
                continue
            if item is not None and (path, item) not in self._known:
                self._known.add((path, item))
                yield from self._dangers_of(path, item, commit)

    def _dangers_of(self, path: str, item: Item, commit: str) -> Iterator[Problem]:
        text = _KINDS.get(item.mode, "") or _misplaced(path)
        if item.oid.hex() in self._scrubbed:
            text = f"holds {_SCRUBBED}"
        if text:
            yield Problem(path, text, commit=commit)
            return
        size, most = self._incoming.size(item), _largest(path)
        if size > most:
            yield Problem(path, f"has {size:,} bytes; {most:,} are the most", commit=commit)
        elif commit and self._stands is not None and is_skill_file(path):
            skill = Skill.parse(skill_of(path), self._incoming.blob(item), path=path)
            high = [one for one in findings(self._scanners, skill) if one.severity == Severity.HIGH]
            yield from (Problem(path, f"{one.message} [{one.code}]", one.line, commit) for one in high)

    # What has to be right in the end

    def _unsafe(self, base: str, new: str) -> list[Problem]:
        """Return what scanners refuse of the skills as they stand in the end; anything less is a warning."""
        ids = sorted({skill_of(path) for path in self._incoming.changed(base, new)} - {"", "README"})
        self.warnings += [problem for skill_id in ids for problem in self._linted(skill_id, new)]
        return [problem for skill_id in ids for problem in self._looked_at(skill_id, new)]

    def _linted(self, skill_id: str, new: str) -> list[Problem]:
        folder = folder_path(skill_id)
        item = self._incoming.item(new, f"{folder}/{FILE}")
        if item is None or item.mode in _KINDS:
            return []
        files = [path[len(folder) + 1 :] for path, _ in self._incoming.files(new, folder)]
        found = lint(skill_id, self._incoming.blob(item), files)
        return [_problem(folder, one, None) for one in found if one.severity != Severity.LOW]

    def _looked_at(self, skill_id: str, new: str) -> list[Problem]:
        files = skill_folder(self._incoming, skill_id, new)
        if FILE not in files:
            return []
        folder = folder_path(skill_id)
        item = self._incoming.item(new, folder)
        if item is None or item.mode != FOLDER_MODE:
            item = self._incoming.item(new, f"{folder}.md")
        found = findings(self._scanners, Skill.parse(skill_id, files[FILE]), files)
        refused = self._stands is not None and item is not None and not self._stands(item.oid.hex())
        bad = [_problem(folder, one, item) for one in found if one.severity == Severity.HIGH]
        if bad and refused:
            return bad
        self.warnings += [_problem(folder, one, item) for one in found if one.severity != Severity.LOW]
        return []

    def _faults(self, base: str, new: str) -> Iterator[Problem]:
        changed = self._incoming.changed(base, new)
        for path in changed:
            item = self._incoming.item(new, path)
            if path == METADATA:
                yield from self._metadata_faults(base, item)
            elif item is not None and is_skill_file(path):
                yield from skill_faults(skill_of(path), path, self._incoming.blob(item))
        for skill_id in sorted({skill_of(path) for path in changed} - {"", "README"}):
            yield from self._folder_faults(skill_id, new)
        yield from self._clashes(changed, new)

    def _folder_faults(self, skill_id: str, new: str) -> Iterator[Problem]:
        folder = folder_path(skill_id)
        item = self._incoming.item(new, folder)
        if item is None or item.mode != FOLDER_MODE:
            return
        files = self._incoming.files(new, folder)
        size = sum(self._incoming.size(file) for _, file in files)
        if f"{folder}/{FILE}" not in {path for path, _ in files}:
            yield Problem(folder, f"has no {FILE}")
        if len(files) > MOST_SKILL_FILES or size > MOST_SKILL_BYTES:
            limits = f"{MOST_SKILL_FILES} files and {MOST_SKILL_BYTES >> 20} MiB are the most"
            yield Problem(folder, f"has {len(files):,} files of {size:,} bytes; {limits}")
        if self._incoming.item(new, f"{folder}.md") is not None:
            yield Problem(f"{folder}.md", f"stands beside the folder of the same skill, {folder}/")

    def _clashes(self, changed: Sequence[str], new: str) -> Iterator[Problem]:
        """Find names that are one on a file system that does not tell upper from lower case."""
        parents = {"/".join(path.split("/")[:depth]) for path in changed for depth in range(path.count("/") + 1)}
        for folder in sorted(parents):
            names = self._incoming.names(new, folder)
            count = Counter(map(_folded, names))
            for name in (name for name in names if count[_folded(name)] > 1):
                yield Problem(f"{folder}/{name}".lstrip("/"), "differs from its neighbour in upper and lower case only")

    def _metadata_faults(self, base: str, item: Item | None) -> Iterator[Problem]:
        if item is None:
            yield Problem(METADATA, "may not be removed")
            return
        try:
            after = _object(self._incoming.blob(item))
        except json.JSONDecodeError as error:
            yield Problem(METADATA, f"is no JSON: {error.msg}", error.lineno)
            return
        except ValueError as error:
            yield Problem(METADATA, str(error), 1)
            return
        text, before = self._incoming.blob(item).decode(), self._metadata(base)
        for key in ("volume", "format", "policy"):
            if after.get(key) != before.get(key) and not (key == "policy" and self._may_set_policy):
                who = "only an admin of the volume changes it" if key == "policy" else "it says what the volume is"
                yield Problem(METADATA, f"{key!r} may not be changed: {who}", _line_of(text, f'"{key}"'))

    def _metadata(self, commit: str) -> dict[str, object]:
        item = self._incoming.item(commit, METADATA)
        try:
            return _object(self._incoming.blob(item)) if item else {}
        except ValueError:
            return {}


def _problem(folder: str, one: Finding, item: Item | None) -> Problem:
    flat = item is not None and item.mode != FOLDER_MODE
    return Problem(f"{folder}.md" if flat else f"{folder}/{one.file}", f"{one.message} [{one.code}]", one.line)


def skill_folder(incoming: Incoming, skill_id: str, commit: str) -> dict[str, bytes]:
    """Return the files of a skill as they stand in a commit, by their paths in its folder."""
    folder = folder_path(skill_id)
    item = incoming.item(commit, folder)
    if item is not None and item.mode == FOLDER_MODE:
        found = incoming.files(commit, folder)
        return {path[len(folder) + 1 :]: incoming.blob(one) for path, one in found if one.mode not in _KINDS}
    flat = incoming.item(commit, f"{folder}.md")
    return {FILE: incoming.blob(flat)} if flat is not None else {}


def is_skill_file(path: str) -> bool:
    """Tell whether a path is that of a skill's Markdown: `skills/<id>/SKILL.md` or `skills/<id>.md`."""
    if not path.startswith(f"{FOLDER}/") or path == f"{FOLDER}/README.md":
        return False
    slashes = path.count("/")
    return (slashes == _IN_FOLDER and path.endswith(f"/{FILE}")) or (slashes == _IN_FLAT and path.endswith(".md"))


def skill_faults(skill_id: str, path: str, data: bytes) -> Iterator[Problem]:
    """Yield what is wrong with a skill's Markdown. In the standard's form, `name` is the id."""
    skill = Skill.parse(skill_id, data, path=path)
    if skill.error is not None:
        line = _LINE.search(skill.error)
        yield Problem(path, _LINE.sub("", skill.error), int(line.group(1)) if line else 1)
        return
    text = data.decode().removeprefix("\ufeff")
    try:
        skill.checked()
    except LlmosError as error:
        yield Problem(path, error.message, _line_of(text, "description:"))
    if path.endswith(f"/{FILE}"):
        yield from _standard_faults(skill_id, path, text)


def _standard_faults(skill_id: str, path: str, text: str) -> Iterator[Problem]:
    block, _ = frontmatter.split(text)
    if block is None:
        yield Problem(path, "It does not begin with front matter: name and description between two lines of ---.", 1)
        return
    fields = frontmatter.load(block)
    name = fields.get("name", "")
    if name != skill_id:
        said = f"The name is {name!r}" if name else "The front matter has no name"
        yield Problem(path, f"{said}; it has to be {skill_id!r}, as the folder.", _line_of(text, "name:"))
    if not fields.get("description"):
        yield Problem(path, "The front matter has no description.", _line_of(text, "description:"))


def _misplaced(path: str) -> str:
    """Say what is wrong with where a file stands; nothing for a good place."""
    top, _, rest = path.partition("/")
    if not path.isprintable():
        return "has a name that is no text"
    if top == FOLDER and rest:
        return _no_skill(rest)
    if (top in {"memory", TEMPLATES} and rest) or path in _AT_TOP:
        return ""
    return "does not belong into a volume: it holds skills/, templates/, memory/, metadata.json and README.md"


def _no_skill(rest: str) -> str:
    name, slash, _ = rest.partition("/")
    if rest == "README.md":
        return ""
    if not slash and not name.endswith(".md"):
        return "is no skill: a skill is a folder with a SKILL.md"
    try:
        check_id(name if slash else name.removesuffix(".md"), "skill")
    except Invalid:
        return f"is not named as a skill: lower-case letters, digits and single hyphens, at most {ID_LENGTH}"
    return ""


def _largest(path: str) -> int:
    if is_skill_file(path):
        return LARGEST_FILE
    return MOST_SKILL_BYTES if path.startswith(f"{FOLDER}/") else LARGEST_MEMORY


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _object(data: bytes) -> dict[str, object]:
    try:
        found = json.loads(data.decode())
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004 - as json does for what it cannot read
    return found


def _line_of(text: str, start: str) -> int:
    """Return the line that starts with something, else the first."""
    lines = enumerate(text.splitlines(), 1)
    return next((number for number, line in lines if line.lstrip().startswith(start)), 1)
