"""Take skills in as they come: one Markdown file, a skill's folder, or a tree of them.

A folder is kept byte for byte, also where it leaves the standard: then the answer says so. The seed's flat file is
written in the standard's form.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from llmos_lite.core.archives import BROKEN, members
from llmos_lite.core.skills.format import LARGEST_FILE, Skill
from llmos_lite.core.skills.guard import refuses
from llmos_lite.core.skills.scan import Finding, Scanner, high, scan
from llmos_lite.core.skills.signoffs import codes_of, signed_off
from llmos_lite.core.skills.standard import deviations
from llmos_lite.engines.git_objects import Author, Change, File, check_path, tree_id
from llmos_lite.errors import Conflict, Invalid, LlmosError, NotFound, TooLarge
from llmos_lite.volumes.access import ID_LENGTH, check_id
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.skill_paths import FILE, flat_path, folder_path

MOST_FILES = 10_000
MOST_BYTES = 256 << 20
MOST_SKILL_FILES = 512
MOST_SKILL_BYTES = 16 << 20
"""Limits of one skill: those of the MCP skills extension."""

DEEPEST = 12
LEFT_OUT = frozenset({".git", "node_modules", "__pycache__", ".venv", ".DS_Store"})
_NO_SKILLS = re.compile(r"readme|license|changelog|contributing|claude|agents|security|code_of_conduct", re.IGNORECASE)
_NOT_ID = re.compile(r"[^a-z0-9]+")

Status = Literal["created", "updated", "unchanged", "refused", "available"]
"""`available`: it could come in, and was only looked at."""


@dataclass(frozen=True, slots=True)
class Package:
    """A skill on its way in.

    Args:
        name: of its folder or file, without `.md`.
        content: its Markdown.
        files: further files by their path in the folder; plain bytes are no program.
        is_folder: whether it came in the standard's form.
        problem: why it cannot be taken; empty when it can.
        path: of its Markdown where it comes from.
        note: what was done to it on its way.
    """

    name: str
    content: bytes
    files: Mapping[str, bytes | File] = field(default_factory=dict)
    is_folder: bool = True
    problem: str = ""
    path: str = ""
    note: str = ""

    def all_files(self) -> dict[str, File]:
        """Return its files with the Markdown among them, as they are kept."""
        return {name: _as_file(content) for name, content in self.files.items()} | {FILE: File(self.content)}


@dataclass(frozen=True, slots=True)
class Installed:
    """What came of one skill; `detail` says why, where there is something to say."""

    skill_id: str
    status: Status
    detail: str = ""
    version: str = ""


def gather(paths: Iterable[Path]) -> list[Package]:
    """Return the skills at or below some paths of this machine; links are left out.

    Raises:
        NotFound: `path.missing`.
        TooLarge: `install.too_many_files` or `install.too_large`.
    """
    budget = _Budget()
    return [package for path in paths for package in packages_of(files_at(path, budget))]


def unpack(stream: IO[bytes]) -> list[Package]:
    """Return the skills in a tar or zip archive; nothing is written to disk, links and devices are left out.

    Raises:
        Invalid: `install.not_an_archive`, `install.bad_path`.
        TooLarge: as `gather`, and `archive.too_large`.
    """
    return packages_of(unpacked(stream))


def unpacked(stream: IO[bytes], most: int = MOST_BYTES) -> dict[str, bytes | File]:
    """Return the files of a tar or zip archive by their paths.

    Raises:
        Invalid, TooLarge: as `unpack`.
    """
    budget, files = _Budget(), dict[str, bytes | File]()
    try:
        for member in members(stream, most):
            name = inside(member.name)
            budget.take(member.size)
            if not LEFT_OUT & set(PurePosixPath(name).parts):
                files[name] = File(member.read(), member.executable)
    except BROKEN as error:
        said = f"That is no tar or zip archive: {error}."
        raise Invalid("install.not_an_archive", said, hint="Send a .tar, .tar.gz or .zip.") from error
    return files


def packages_of(files: Mapping[str, bytes | File]) -> list[Package]:
    """Return the skills among files, by path: a folder with a SKILL.md, and Markdown files in no such folder."""
    paths = {PurePosixPath(name): _as_file(content) for name, content in files.items()}
    roots = {path.parent for path in paths if path.name in {FILE, FILE.lower()}}
    inside: dict[PurePosixPath, dict[str, File]] = {root: {} for root in roots}
    flat: list[Package] = []
    for path, file in paths.items():
        root = next((parent for parent in path.parents if parent in roots), None)
        if root is not None:
            inside[root][str(path.relative_to(root))] = file
        elif path.suffix.lower() == ".md" and not _NO_SKILLS.match(path.stem):
            flat.append(Package(path.stem, file.data, is_folder=False, path=str(path)))
    folders = [_folder(root, inner) for root, inner in sorted(inside.items())]
    return [*folders, *flat]


def install(
    volume: GitVolume,
    packages: Sequence[Package],
    author: Author,
    scanners: Mapping[str, Scanner] | None = None,
    *,
    replace: bool = True,
    expect: Mapping[str, str] | None = None,
    beside: Callable[[Sequence[Installed]], Mapping[str, Change]] | None = None,
) -> list[Installed]:
    """Write skills to a volume as one commit, and tell what came of each, in their order.

    Args:
        volume: a writable handle.
        packages: what to write; of two with one id the first is taken.
        author: of the commit.
        scanners: look at each skill; high severity refuses it where others read it, see `guard.refuses`.
        replace: whether a skill that is there and differs is replaced, or refused.
        expect: versions of skills that the caller saw; one that is another by now is refused.
        beside: returns what else changes in the same commit, as a lock file.
    """
    with volume.store.lock():
        volume.commit_changes()
        batch = _Batch(volume, scanners or {}, replace=replace, expect=expect or {})
        done = [batch.add(package) for package in packages]
        changes = batch.changes | (dict(beside(done)) if beside else {})
        if changes:
            volume.store.commit(changes, _message(done), author)
        return done


class _Batch:
    """The changes of one commit, skill by skill."""

    def __init__(
        self, volume: GitVolume, scanners: Mapping[str, Scanner], *, replace: bool, expect: Mapping[str, str]
    ) -> None:
        self._volume, self._scanners, self._replace, self._expect = volume, scanners, replace, expect
        self._seen: set[str] = set()
        self.changes: dict[str, Change] = {}

    def add(self, package: Package) -> Installed:
        """Put a skill into the batch, or say why not."""
        try:
            return self._add(package)
        except LlmosError as error:
            return Installed(package.name[:ID_LENGTH], "refused", error.message)

    def _add(self, package: Package) -> Installed:
        if package.problem:
            raise Invalid("skill.unreadable", package.problem)
        skill, content, said = _skill_of(package)
        if skill.skill_id in self._seen:
            raise Conflict("skill.exists", "Another skill of this batch has the same id.")
        files = package.all_files() | {FILE: File(content)}
        data = {name: file.data for name, file in files.items()}
        found = scan(self._scanners, skill, data, refuse=refuses(self._volume.ref))
        said += [*self._held(found, tree_id(files)), *(finding.message for finding in found)]
        for name in files:
            check_path(f"{folder_path(skill.skill_id)}/{name}")
        status = self._status(skill.skill_id, files)
        self._seen.add(skill.skill_id)
        if status in {"created", "updated"}:
            folder = folder_path(skill.skill_id)
            self.changes |= {folder: None, flat_path(skill.skill_id): None} if status == "updated" else {}
            self.changes |= {f"{folder}/{name}": file for name, file in files.items()}
        return Installed(skill.skill_id, status, " ".join(said), tree_id(files))

    def _held(self, found: Iterable[Finding], digest: str) -> list[str]:
        codes = codes_of(high(found))
        if not codes or signed_off(self._volume, digest) is not None:
            return []
        return [f"It is held back: {', '.join(codes)}. No model gets it until somebody signs it off."]

    def _status(self, skill_id: str, files: Mapping[str, File]) -> Status:
        entry = self._volume.skill_entry(skill_id)
        if self._expect.get(skill_id, entry.version if entry else "") != (entry.version if entry else ""):
            raise Conflict("skill.changed", f"{skill_id} was changed meanwhile.", hint="Try again.")
        if entry is None:
            return "created"
        lead = len(folder_path(skill_id)) + 1
        there = {
            file.path[lead:]: File(self._volume.store.blob(file.oid), file.executable)
            for file in self._volume.skill_files(skill_id)
        }
        if entry.is_folder and there == files:
            return "unchanged"
        if not self._replace:
            raise Conflict("skill.exists", f"There is a skill {skill_id} already, and it differs.")
        return "updated"


def _skill_of(package: Package) -> tuple[Skill, bytes, list[str]]:
    """Return the skill, the SKILL.md to write for it, and what its owner should know of that.

    Raises:
        Invalid: it cannot be read, or has no usable id.
    """
    skill_id = id_of(package.name)
    skill = Skill.parse(skill_id, package.content)
    if skill.error is not None:
        raise Invalid("skill.unreadable", skill.error)
    if not package.is_folder:
        return skill, skill.render().encode(), []
    said = [package.note] if package.note else []
    if skill_id != package.name:
        said.append(f"The folder {package.name[:ID_LENGTH]!r} is kept under the id {skill_id}.")
    found = deviations(skill_id, package.content)
    return skill, package.content, said + (["Kept as it is, outside the standard:", *found] if found else [])


def id_of(name: str) -> str:
    """Return the id for a folder or file name: `My Skill` becomes `my-skill`.

    Letters that ASCII does not have stand in a short hash, so that two such names get two ids.

    Raises:
        Invalid: `skill.invalid_id`, for a name without a letter or a digit.
    """
    letters = unicodedata.normalize("NFKD", name).casefold()
    plain = _NOT_ID.sub("-", "".join(char for char in letters if not unicodedata.combining(char))).strip("-")
    if any(char.isalnum() and not char.isascii() for char in letters if not unicodedata.combining(char)):
        digest = hashlib.sha256(unicodedata.normalize("NFC", name).encode("utf-8", "replace")).hexdigest()[:10]
        plain = f"{plain[: ID_LENGTH - 11].strip('-') or 'skill'}-{digest}"
    return check_id(plain[:ID_LENGTH].strip("-"), "skill")


def _as_file(content: bytes | File) -> File:
    return content if isinstance(content, File) else File(content)


def _folder(root: PurePosixPath, files: dict[str, File]) -> Package:
    main = FILE if FILE in files else FILE.lower()
    content = files.pop(main).data
    name = root.name or _named(content)
    note = "" if main == FILE else f"Its {main} is kept as {FILE}."
    return Package(name, content, files, problem=_too_much(files, content), path=str(root / main), note=note)


def _named(content: bytes) -> str:
    """Return the name that a SKILL.md gives itself; for one that was packed without its folder."""
    return Skill.parse("", content).name


def _too_much(files: Mapping[str, File], content: bytes) -> str:
    if len(content) > LARGEST_FILE:
        return "Its SKILL.md is larger than 1 MiB."
    if len(files) >= MOST_SKILL_FILES:
        return f"It has more than {MOST_SKILL_FILES} files."
    if sum(len(file.data) for file in files.values()) > MOST_SKILL_BYTES:
        return f"It is larger than {MOST_SKILL_BYTES >> 20} MiB."
    folded = {unicodedata.normalize("NFC", name).casefold() for name in [*_all_paths(files), FILE]}
    clash = len(folded) <= len(_all_paths(files))
    return "Two of its files differ only in upper and lower case, or in how an accent is written." if clash else ""


def _all_paths(files: Mapping[str, File]) -> set[str]:
    """Return the paths of files and of the folders that they lie in."""
    folders = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    return files.keys() | folders - {"."}


def files_at(path: Path, budget: _Budget | None = None) -> dict[str, bytes | File]:
    """Return the files at or below a path of this machine, below the name of its folder; links are left out.

    Raises:
        NotFound, TooLarge: as `gather`.
    """
    budget = budget or _Budget()
    if path.is_file():
        skill = path.name in {FILE, FILE.lower()}
        return {str(Path(path.resolve().parent.name, path.name)) if skill else path.name: _read(path, budget)}
    if not path.is_dir():
        raise NotFound("path.missing", f"There is no file or folder {path}.", hint="Correct the path.")
    root = path.resolve()
    return {
        str(PurePosixPath(root.name) / found.relative_to(root).as_posix()): _read(found, budget)
        for found in _walk(root)
    }


def _read(path: Path, budget: _Budget) -> File:
    found = path.stat()
    budget.take(found.st_size)
    return File(path.read_bytes(), bool(found.st_mode & stat.S_IXUSR))


def _walk(root: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(root, followlinks=False):
        deep = len(Path(where).relative_to(root).parts) >= DEEPEST
        folders[:] = [] if deep else sorted(set(folders) - LEFT_OUT)
        for name in sorted(set(names) - LEFT_OUT):
            path = Path(where, name)
            if stat.S_ISREG(path.lstat().st_mode):
                yield path


def inside(name: str) -> str:
    """Return a path inside an archive, when it stays in there.

    Raises:
        Invalid: `install.bad_path`.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise Invalid("install.bad_path", f"The archive holds {name[:200]!r}, which leads out of its folder.")
    return str(path)


@dataclass(slots=True)
class _Budget:
    """How much may still come in."""

    files: int = MOST_FILES
    bytes: int = MOST_BYTES

    def take(self, size: int) -> None:
        self.files -= 1
        self.bytes -= size
        if self.files < 0:
            raise TooLarge("install.too_many_files", f"There are more than {MOST_FILES:,} files.", hint="Add a part.")
        if self.bytes < 0:
            raise TooLarge("install.too_large", f"That is more than {MOST_BYTES >> 20} MiB.", hint="Add a part.")


def _message(done: Sequence[Installed]) -> str:
    changed = [one for one in done if one.status in {"created", "updated"}]
    if len(changed) == 1:
        return f"{'Create' if changed[0].status == 'created' else 'Update'} skill: {changed[0].skill_id}"
    created = sum(one.status == "created" for one in changed)
    listed = "\n".join(f"{one.status}: {one.skill_id}" for one in changed)
    return f"Install {len(changed)} skills ({created} new)\n\n{listed}"
