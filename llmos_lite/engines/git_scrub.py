"""Taking a text out of every object of a repository: files, messages and names, in every commit of every branch.

A commit keeps its author, its committer and their times; it gets other objects and parents, and is signed anew. Objects
are written first, then what is about to happen is noted durably (the *plan*, which does not hold the text), and then
the branches move. Whoever finds a plan finishes it, so a crash leaves the old history or the new one, whole.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pygit2
from pygit2.enums import SortMode

from llmos_lite.engines.git_audit import all_refs
from llmos_lite.engines.git_objects import (
    BLOB,
    COMMIT,
    FOLDER_MODE,
    TREE,
    Author,
    Draft,
    Lines,
    NewObject,
    new_object,
    parse_commit,
    parse_tree,
)
from llmos_lite.engines.git_odb import Objects
from llmos_lite.engines.git_pack import sync_folder, write_pack
from llmos_lite.engines.git_refs import OID
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import Conflict, Unavailable

PLAN = "llmos-scrub"
"""File in the repository while its branches move."""
DONE = "llmos-scrubs"
"""Folder in the repository with what became of each id, a file for each time."""
FLUSH = 32 << 20
GONE = b"(removed)"
"""What becomes of a text; it means nothing in YAML, JSON or Markdown."""
OURS = ("refs/heads/", "refs/llmos/", "refs/notes/")
"""Refs that are rewritten; any other is somebody's own."""
_SUBMODULE = b"160000"
_NAMED = (b"author ", b"committer ")
_PERSON = re.compile(rb"(?P<who>[^<>\n]*<[^<>\n]*>)(?P<when> -?\d+ [+-]\d{4})")

Change = Callable[[str, bytes], bytes]
"""Gets a path (empty for a message) and a content, and returns what is left of it."""


@dataclass(frozen=True, slots=True)
class Stone:
    """What the tombstone says, the commit on main that stays.

    Args:
        scrub_id: names the scrub.
        by: id of whoever asked, its author.
        at: the time, in milliseconds.
        reason: why.
        message: its message; `{commits}` becomes the number of commits that are new.
        committer: its committer.
    """

    scrub_id: str
    by: str
    at: int
    reason: str
    message: str
    committer: Author


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is about to happen: where refs are and will be, and what becomes of every object that held the text."""

    scrub_id: str
    by: str
    at: int
    reason: str = ""
    refs: dict[str, tuple[str, str]] = {}
    became: dict[str, str] = {}
    commits: int = 0
    """Commits that are new."""
    resigned: int = 0
    """Commits of people whose own signature is gone."""
    moved: bool = False
    """Whether the refs are there already, so that only the old objects are left to be removed."""

    @property
    def main(self) -> tuple[str, str]:
        """Return where `main` was and will be."""
        return self.refs.get("refs/heads/main", ("", ""))


@dataclass(slots=True)
class Rewriter:
    """One rewrite on its way.

    Args:
        gitdir: the repository's own folder; the caller holds its lock.
        signer: signs the new commits.
        change: takes the text out.
    """

    gitdir: Path
    signer: Signer
    change: Change
    became: dict[str, str] = field(default_factory=dict)
    resigned: int = 0
    _objects: Objects = field(init=False)
    _commits: dict[str, str] = field(default_factory=dict)
    _trees: dict[tuple[str, bytes], bytes] = field(default_factory=dict)
    _blobs: dict[tuple[str, bytes], bytes] = field(default_factory=dict)
    _fresh: list[NewObject] = field(default_factory=list)
    _held: int = 0

    def __post_init__(self) -> None:
        self._objects = Objects(self.gitdir, None)

    def run(self, stone: Stone) -> Plan | None:
        """Write the new objects, durably; no ref moves. None when nothing holds the text.

        Raises:
            Conflict: `scrub.refs`, when somebody's own ref leads to the text, or a ref has it in its name.
            OSError: nothing changed.
        """
        try:
            _require_names_without(self.gitdir, self.change)
            refs = _tips(self.gitdir)
            for oid in _order(self.gitdir, refs.values()):
                self._commits[oid] = self._commit(oid)
            moved = {name: (oid, self._commits[oid]) for name, oid in refs.items()}
            moved = {name: both for name, both in moved.items() if both[0] != both[1]}
            strange = [name for name in moved if not name.startswith(OURS)]
            if strange:
                raise _somebodys(strange)
            if not moved:
                return None
            self._tombstone(moved, refs, stone)
            self._flush()
            changed = {old: new for old, new in {**self._commits, **self.became}.items() if old != new}
            return Plan(
                scrub_id=stone.scrub_id,
                by=stone.by,
                at=stone.at,
                reason=stone.reason,
                refs=moved,
                became=changed,
                commits=self._count(),
                resigned=self.resigned,
            )
        finally:
            self._objects.close()

    def left(self) -> list[str]:
        """Return the commits that a rewrite would change, first ones only: nothing when no commit holds the text."""
        try:
            for oid in _order(self.gitdir, _tips(self.gitdir).values()):
                self._commits[oid] = self._commit(oid)
                if self._commits[oid] != oid:
                    return [oid]
            return []
        finally:
            self._objects.close()

    def _tombstone(self, moved: dict[str, tuple[str, str]], refs: Mapping[str, str], stone: Stone) -> None:
        main = "refs/heads/main"
        old, new = moved.get(main, (refs[main], refs[main]))
        tree = bytes.fromhex(parse_commit(new, self._raw(new)).tree)
        author, text = Author(stone.by, f"{stone.by}@localhost"), stone.message.replace("{commits}", str(self._count()))
        draft = Draft(tree, [new], author, stone.committer, stone.at // 1000, text)
        made = new_object(COMMIT, draft.signed(self.signer.sign(draft.payload())))
        moved[main] = old, self._store(made).hex()

    def _count(self) -> int:
        return sum(old != new for old, new in self._commits.items())

    def _raw(self, oid: str) -> bytes:
        fresh = next((item.data for item in self._fresh if item.oid.hex() == oid), None)
        return fresh if fresh is not None else self._objects.raw(oid)

    def _commit(self, oid: str) -> str:
        data = self._objects.raw(oid)
        found = parse_commit(oid, data)
        tree = self._tree("", bytes.fromhex(found.tree)).hex()
        parents = [self._commits[parent] for parent in found.parents]
        kept, message = _said(data)
        said, text = [_line(line, self.change) for line in kept], self.change("", message)
        if kept == said and text == message and tree == found.tree and parents == list(found.parents):
            return oid
        self.resigned += b"\ngpgsig" in data.partition(b"\n\n")[0] and not self._is_ours(data)
        lines = [f"tree {tree}".encode(), *(f"parent {parent}".encode() for parent in parents), *said]
        header = b"\n".join(lines) + b"\n"
        signature = self.signer.sign(header + b"\n" + text).rstrip("\n").replace("\n", "\n ")
        return self._store(new_object(COMMIT, header + f"gpgsig {signature}\n".encode() + b"\n" + text)).hex()

    def _is_ours(self, data: bytes) -> bool:
        return b"\ncommitter llmos-lite <" in data or b"\ncommitter local-files <" in data

    def _tree(self, folder: str, oid: bytes) -> bytes:
        key = folder, oid
        if key not in self._trees:
            self._trees[key] = made = self._new_tree(folder, oid, self._objects.tree(oid))
            if made != oid:
                self.became[oid.hex()] = made.hex()
        return self._trees[key]

    def _new_tree(self, folder: str, oid: bytes, lines: Lines) -> bytes:
        new: dict[bytes, tuple[bytes, bytes]] = {}
        for name, (mode, child) in lines.items():
            text = name.decode("utf-8", "surrogateescape")
            path = f"{folder}/{text}" if folder else text
            left = self._tree(path, child) if mode == FOLDER_MODE else self._blob(path, mode, child)
            new[self._name(name, {*lines, *new})] = mode, left
        if new == lines:
            return oid
        return self._store(new_object(TREE, _tree_bytes(new)))

    def _name(self, name: bytes, taken: Collection[bytes]) -> bytes:
        """Return a name without the text; git allows any but a few, and a volume shows what it can."""
        left = self.change("", name)
        if left == name:
            return name
        plain = re.sub(rb"[^A-Za-z0-9._-]+", b"-", left).strip(b"-") or b"removed"
        number = 1
        while plain in taken:
            number += 1
            plain = plain.rstrip(b"0123456789") + b"%d" % number
        return plain

    def _blob(self, path: str, mode: bytes, oid: bytes) -> bytes:
        if mode == _SUBMODULE:
            return oid
        key = path, oid
        if key not in self._blobs:
            data = self._objects.raw(oid.hex())
            left = self.change(path, data)
            self._blobs[key] = oid if left == data else self._store(new_object(BLOB, left))
            if left != data:
                self.became[oid.hex()] = self._blobs[key].hex()
        return self._blobs[key]

    def _store(self, made: NewObject) -> bytes:
        self._fresh.append(made)
        self._held += len(made.data)
        if self._held > FLUSH:
            self._flush()
        return made.oid

    def _flush(self) -> None:
        if self._fresh:
            write_pack(self._fresh, self.gitdir / "objects" / "pack")
        self._fresh, self._held = [], 0


def _said(data: bytes) -> tuple[list[bytes], bytes]:
    """Return what a commit says but ids and signatures: the lines of its head, and its message."""
    head, _, message = data.partition(b"\n\n")
    joined = head.replace(b"\n ", b"\0").split(b"\n")  # a continued line is one
    kept = [line for line in joined if not line.startswith((b"tree ", b"parent ", b"gpgsig"))]
    return [line.replace(b"\0", b"\n ") for line in kept], message


def _line(line: bytes, change: Change) -> bytes:
    """Return a line of a commit's head without the text: its first word and its times are Git's own, and stay."""
    word, gap, rest = line.partition(b" ")
    found = _PERSON.fullmatch(rest) if word + gap in _NAMED else None
    if found is None:
        return word + gap + change("", rest)
    left = change("", found["who"])
    who = left if _PERSON.fullmatch(left + found["when"]) else GONE + b" <>"
    return word + gap + who + found["when"]


def _tree_bytes(lines: Lines) -> bytes:
    order = sorted(lines, key=lambda name: name + b"/" if lines[name][0] == FOLDER_MODE else name)
    return b"".join(b"%b %b\0%b" % (lines[name][0], name, lines[name][1]) for name in order)


def _tips(gitdir: Path) -> dict[str, str]:
    """Return the commit that each ref leads to, also through a tag; those that lead to none are left out."""
    repo, found = pygit2.Repository(str(gitdir)), dict[str, str]()
    try:
        for name, oid in all_refs(gitdir).items():
            with contextlib.suppress(pygit2.GitError, KeyError, ValueError):
                if OID.fullmatch(oid):
                    found[name] = str(repo[oid].peel(pygit2.Commit).id)
    finally:
        repo.free()
    return found


def _order(gitdir: Path, tips: Collection[str]) -> Iterator[str]:
    """Yield every commit that some commits lead to, parents first."""
    repo = pygit2.Repository(str(gitdir))
    try:
        walker = repo.walk(None, SortMode.TOPOLOGICAL | SortMode.REVERSE)
        for tip in sorted(set(tips)):
            walker.push(tip)
        yield from [str(commit.id) for commit in walker]
    except (pygit2.GitError, KeyError) as error:
        raise Unavailable("volume.broken", f"The history of {gitdir} cannot be read: {error}.") from error
    finally:
        repo.free()


def _require_names_without(gitdir: Path, change: Change) -> None:
    """Raise when a ref has the text in its name, which stays."""
    names = [name for name in map(os.fsencode, all_refs(gitdir)) if change("", name) != name]
    if names:
        raise Conflict(
            "scrub.refs",
            f"{len(names)} refs have the text in their name, which a scrub does not change.",
            hint="Close these proposals, or delete the refs with git in the volume's folder, then scrub again.",
        )


def _somebodys(names: Sequence[str]) -> Conflict:
    return Conflict(
        "scrub.refs",
        f"These refs, which llmos did not make, lead to the text: {', '.join(names[:10])}.",
        hint="Delete them with git in the volume's folder, then scrub again.",
    )


# The plan


def note(gitdir: Path, plan: Plan) -> None:
    """Note a plan; it is durable when this returns."""
    _write(gitdir / PLAN, msgspec.json.encode(plan))


def noted(gitdir: Path) -> Plan | None:
    """Return the plan that a process did not finish."""
    try:
        return msgspec.json.decode((gitdir / PLAN).read_bytes(), type=Plan)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise Unavailable("volume.broken", f"{gitdir / PLAN} cannot be read: {error}.") from error


def move(gitdir: Path, plan: Plan) -> None:
    """Move the refs to where the plan says; doing so again changes nothing. The caller holds the repository lock.

    Raises:
        Conflict: `volume.moved`, when one is at neither place.
        OSError: it can be done again.
    """
    now = all_refs(gitdir)
    gone = [name for name, both in plan.refs.items() if now.get(name) not in both]
    if gone:
        raise Conflict("volume.moved", f"{gone[0]} has moved meanwhile.", hint="Scrub again.")
    for name, (_, new) in plan.refs.items():
        path = gitdir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, f"{new}\n".encode())


def finish(gitdir: Path, plan: Plan) -> None:
    """Keep what became of each id, and forget the plan."""
    (gitdir / DONE).mkdir(mode=0o700, exist_ok=True)
    _write(gitdir / DONE / f"{plan.scrub_id}.json", msgspec.json.encode(plan))
    (gitdir / PLAN).unlink(missing_ok=True)
    sync_folder(gitdir)


def became(gitdir: Path) -> dict[str, str]:
    """Return what every scrub made of the ids that it replaced."""
    found: dict[str, str] = {}
    for path in sorted((gitdir / DONE).glob("*.json")):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            found |= msgspec.json.decode(path.read_bytes(), type=Plan).became
    return found


def _write(path: Path, data: bytes) -> None:
    lock = path.with_name(f"{path.name}.lock")  # as git does it, so that both exclude each other
    with os.fdopen(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    lock.replace(path)
    sync_folder(path.parent)


# The proof


def holding(gitdir: Path, change: Change) -> list[str]:
    """Return the objects that still hold the text, decoded one by one, and files of git's that are no objects."""
    repo, found = pygit2.Repository(str(gitdir)), list[str]()
    try:
        for oid in repo.odb:
            kind, data = repo.odb.read(oid)
            if any(change("", part) != part for part in _parts(kind, bytes(data))):
                found.append(str(oid))
    finally:
        repo.free()
    return found + [path.name for path in _others(gitdir) if _holds(path, change)]


def _parts(kind: int, data: bytes) -> Collection[bytes]:
    """Return what may hold a text: names, of a folder; all but ids, times and signatures, of a commit."""
    if kind == pygit2.enums.ObjectType.TREE:
        return parse_tree(data)
    if kind != pygit2.enums.ObjectType.COMMIT:
        return [data]
    lines, message = _said(data)
    values = (line.partition(b" ")[2] for line in lines)
    return [message, *(found["who"] if (found := _PERSON.fullmatch(value)) else value for value in values)]


def _others(gitdir: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(gitdir):
        if Path(folder) == gitdir:
            names[:] = [name for name in names if name not in {"objects", DONE}]
        yield from (Path(folder, name) for name in files if name not in {"index", PLAN})


def _holds(path: Path, change: Change) -> bool:
    try:
        data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
    except OSError:
        return False
    return change("", data) != data


def tidy(gitdir: Path) -> None:
    """Remove what a person's git left of messages that it was to commit."""
    for name in ("COMMIT_EDITMSG", "MERGE_MSG", "SQUASH_MSG", "TAG_EDITMSG"):
        (gitdir / name).unlink(missing_ok=True)
