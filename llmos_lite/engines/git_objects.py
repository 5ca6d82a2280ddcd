"""Git's objects as bytes: paths, trees written by path, commits and their trailers.

A tree is edited without an index, so a commit costs what its own folders cost, not what the repository
holds. Nothing here touches a disk.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from llmos_lite.errors import Conflict, Invalid

COMMIT, TREE, BLOB = 1, 2, 3
TYPE_NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob"}
FOLDER_MODE, FILE_MODE, PROGRAM_MODE = b"40000", b"100644", b"100755"
SERVED_MODES = frozenset({FOLDER_MODE, FILE_MODE, PROGRAM_MODE, b"100664"})
"""Modes that are ever shown to a reader: a symbolic link or a submodule stays in the tree, unserved."""

_ITEM = re.compile(rb"(\d{5,6}) ([^\0]+)\0(.{20})", re.DOTALL)
_TRAILER = re.compile(r"([A-Za-z][A-Za-z0-9-]*): *(.*)")
_PERSON = re.compile(r"(.*?) ?<([^<>]*)> (-?\d+) [+-]\d{4}")
_FEW = 16
_LONGEST_NAME, _LONGEST_PATH = 255, 4096
_FORBIDDEN_NAMES = frozenset({"", ".", "..", ".git", "git~1"})


@dataclass(frozen=True, slots=True)
class Author:
    """Who made a commit."""

    name: str
    email: str

    def line(self, seconds: int) -> str:
        """Return Git's `name <email> time zone` (always UTC)."""
        clean = [re.sub(r"[<>\x00-\x1f]", "", part).strip() for part in (self.name, self.email)]
        return f"{clean[0] or 'unknown'} <{clean[1]}> {seconds} +0000"


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit; `time` is the committer's, in milliseconds since the epoch (Git keeps seconds)."""

    oid: str
    tree: str
    parents: tuple[str, ...]
    author: str
    email: str
    committer: str
    time: int
    subject: str
    body: str = ""
    trailers: dict[str, str] = field(default_factory=dict)
    signed: bool = False
    """Whether it carries a signature; whose, and whether it holds, `llmos verify` tells."""


class Entry(NamedTuple):
    """One file or folder of a tree: its full path, the id of its object, and what it is."""

    path: str
    oid: str
    is_tree: bool
    executable: bool = False


class File(NamedTuple):
    """A file's content, and whether it may be run."""

    data: bytes
    executable: bool = False


class Item(NamedTuple):
    """What a path leads to: the mode that a tree gives it, and its object."""

    mode: bytes
    oid: bytes


Change: TypeAlias = bytes | File | Entry | None
"""What becomes of a path: new content (of a file that may be run if it could before), new content and whether it may
be run, an object that the repository already holds, or nothing."""


Lines: TypeAlias = dict[bytes, tuple[bytes, bytes]]
"""A tree, parsed: name -> (mode, id), in Git's order."""


class ParsedTree(Lines):
    """Lines with the bytes that they stand for."""

    __slots__ = ("raw",)
    raw: bytes

    @classmethod
    def of(cls, lines: Lines, raw: bytes) -> ParsedTree:
        """Return lines with their bytes."""
        made = cls(lines)
        made.raw = raw
        return made


class NewObject(NamedTuple):
    """An object that is to be stored; `lines` is what a tree parses to."""

    kind: int
    oid: bytes
    data: bytes
    lines: Lines | None = None


def new_object(kind: int, data: bytes) -> NewObject:
    """Return `data` with its Git id."""
    digest = hashlib.sha1(b"%s %d\0" % (TYPE_NAMES[kind], len(data)), usedforsecurity=False)
    digest.update(data)
    return NewObject(kind, digest.digest(), data)


def blob_id(data: bytes) -> str:
    """Return the id that Git gives to a file with this content."""
    return new_object(BLOB, data).oid.hex()


def check_path(path: str) -> list[bytes]:
    """Split a path inside a repository, before it comes near a disk.

    Raises:
        Invalid: `file.invalid_path`.
    """
    parts = path.split("/")
    names = [part.encode("utf-8", "surrogateescape") for part in parts]
    bad = any(
        part.lower() in _FORBIDDEN_NAMES or len(name) > _LONGEST_NAME for part, name in zip(parts, names, strict=True)
    )
    if bad or len(path) > _LONGEST_PATH or re.search(r"[\x00-\x1f\x7f\\]", path):
        raise Invalid(
            "file.invalid_path",
            f"{path[:80]!r} is not a path inside a volume.",
            hint="Use a relative path of plain names, separated by '/'.",
        )
    return names


def parse_tree(data: bytes) -> Lines:
    """Return the lines of a tree object, in Git's order."""
    return ParsedTree.of({name: (mode, oid) for mode, name, oid in _ITEM.findall(data)}, data)


def _sort_key(line: tuple[bytes, tuple[bytes, bytes]]) -> bytes:
    """Order as Git does: a folder's name as if it ended in a slash."""
    return line[0] + b"/" if line[1][0] == FOLDER_MODE else line[0]


class TreeEdit:
    """A tree being changed; folders are read when a path leads into them.

    Args:
        oid: the tree to start from; empty starts from nothing.
        load: gives the lines of a tree object; they are not changed.
    """

    def __init__(self, oid: bytes, load: Callable[[bytes], Lines]) -> None:
        self._oid, self._load = oid, load
        found = load(oid) if oid else {}
        self._raw = found.raw if isinstance(found, ParsedTree) else b""
        self._items = dict(found)
        self._folders: dict[bytes, TreeEdit] = {}
        self._replaced: dict[bytes, tuple[bytes, bytes]] = {}
        self._gone = set[bytes]()  # still among the lines, since what is put there anew keeps their order
        self._patched, self._sorted = bool(self._raw), True

    def _folder(self, name: bytes) -> TreeEdit | None:
        if name not in self._folders:
            mode, oid = self._there(name)
            if mode != FOLDER_MODE:
                return None
            self._folders[name] = TreeEdit(oid, self._load)
        return self._folders[name]

    def _there(self, name: bytes) -> tuple[bytes, bytes]:
        return (b"", b"") if name in self._gone else self._items.get(name, (b"", b""))

    def delete(self, parts: Sequence[bytes]) -> None:
        """Remove a file or a folder; what is not there stays away."""
        if len(parts) == 1:
            self._folders.pop(parts[0], None)
            if parts[0] in self._items:
                self._gone.add(parts[0])
            return
        folder = self._folder(parts[0])
        if folder is not None:
            folder.delete(parts[1:])
            if not folder:
                self.delete(parts[:1])

    def mode(self, parts: Sequence[bytes]) -> bytes:
        """Return the mode of what stands at a path, empty for nothing."""
        if len(parts) == 1:
            return FOLDER_MODE if parts[0] in self._folders else self._there(parts[0])[0]
        folder = self._folder(parts[0])
        return folder.mode(parts[1:]) if folder is not None else b""

    def put(self, parts: Sequence[bytes], mode: bytes, oid: bytes) -> None:
        """Set what stands at a path.

        Raises:
            Conflict: `file.in_the_way`, when a file stands where a folder must, or the reverse.
        """
        name = parts[0]
        there = FOLDER_MODE if name in self._folders else self._there(name)[0]
        wanted = FOLDER_MODE if len(parts) > 1 else mode
        if there and (there == FOLDER_MODE) != (wanted == FOLDER_MODE):
            shown = name.decode("utf-8", "replace")
            raise Conflict("file.in_the_way", f"{shown!r} is a {'folder' if there == FOLDER_MODE else 'file'}.")
        was = there or self._items.get(name, (b"",))[0]
        if not was or (was == FOLDER_MODE) != (wanted == FOLDER_MODE):
            self._sorted = self._patched = False
        if len(parts) == 1:
            self._folders.pop(name, None)
            self._set(name, mode, oid)
            return
        folder = self._folder(name)
        if folder is None:
            folder = self._folders[name] = TreeEdit(b"", self._load)
        folder.put(parts[1:], mode, oid)

    def __bool__(self) -> bool:
        return bool(self._folders) or len(self._items) > len(self._gone)

    def write(self, store: Callable[[NewObject], None]) -> bytes:
        """Hand every changed tree to `store` and return the id of this one."""
        for name, folder in self._folders.items():
            self._set(name, FOLDER_MODE, folder.write(store))
        for name in self._gone:
            del self._items[name]
            self._patched = False
        self._gone.clear()
        if not self._sorted:
            self._items = dict(sorted(self._items.items(), key=_sort_key))
        data = self._bytes()
        made = new_object(TREE, data)._replace(lines=ParsedTree.of(self._items, data))
        if made.oid != self._oid:
            store(made)
        return made.oid

    def _set(self, name: bytes, mode: bytes, oid: bytes) -> None:
        was = self._items.get(name)
        if was is None:
            self._patched = False
        else:
            self._replaced.setdefault(name, was)
        self._gone.discard(name)
        self._items[name] = (mode, oid)

    def _bytes(self) -> bytes:
        """Return the tree; a few lines of a large one are replaced in its bytes, which costs a hundredth."""
        if not self._patched or len(self._replaced) > _FEW:
            return b"".join([mode + b" " + name + b"\0" + oid for name, (mode, oid) in self._items.items()])
        data = self._raw
        for name, (mode, oid) in self._replaced.items():
            new = self._items[name]
            data = data.replace(b"%b %b\0%b" % (mode, name, oid), b"%b %b\0%b" % (new[0], name, new[1]), 1)
        return data


def apply_changes(edit: TreeEdit, changes: Mapping[str, Change], store: Callable[[NewObject], None]) -> None:
    """Make `changes` in a tree: what goes first, so that a folder may stand where a file stood."""
    split = [(check_path(path), change) for path, change in changes.items()]
    modes = [_mode(edit, parts, change) for parts, change in split]
    for parts, change in split:
        if change is None:
            edit.delete(parts)
    for (parts, change), mode in zip(split, modes, strict=True):
        if isinstance(change, Entry):
            edit.put(parts, mode, bytes.fromhex(change.oid))
        elif change is not None:
            blob = new_object(BLOB, change.data if isinstance(change, File) else bytes(change))
            store(blob)
            edit.put(parts, mode, blob.oid)


def tree_id(files: Mapping[str, File]) -> str:
    """Return the id that Git gives to a folder with these files, by their paths in it.

    Raises:
        Invalid: `file.invalid_path`.
        Conflict: `file.in_the_way`.
    """
    edit = TreeEdit(b"", lambda _: {})
    apply_changes(edit, files, lambda _: None)
    return edit.write(lambda _: None).hex()


def _mode(edit: TreeEdit, parts: Sequence[bytes], change: Change) -> bytes:
    """Return the mode to write: content alone keeps the one that the file has, even when its folder is written anew."""
    if isinstance(change, Entry) and change.is_tree:
        return FOLDER_MODE
    if isinstance(change, File | Entry):
        return PROGRAM_MODE if change.executable else FILE_MODE
    there = edit.mode(parts) if change is not None else b""
    return there if there in SERVED_MODES - {FOLDER_MODE} else FILE_MODE


class Draft(NamedTuple):
    """A commit before it is signed; times in seconds since the epoch."""

    tree: bytes
    parents: Sequence[str]
    author: Author
    committer: Author
    seconds: int
    message: str

    def payload(self) -> bytes:
        """Return the bytes that are signed."""
        return self._header() + b"\n" + self._message()

    def signed(self, signature: str) -> bytes:
        """Return the commit object; the signature stands in its header, continued by spaces."""
        block = "\n ".join(signature.rstrip("\n").split("\n"))
        return self._header() + f"gpgsig {block}\n".encode() + b"\n" + self._message()

    def _header(self) -> bytes:
        lines = [f"tree {self.tree.hex()}", *(f"parent {parent}" for parent in self.parents)]
        lines += [f"author {self.author.line(self.seconds)}", f"committer {self.committer.line(self.seconds)}"]
        return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")

    def _message(self) -> bytes:
        text = self.message.replace("\0", "").replace("\r\n", "\n").strip()
        return (text + "\n").encode("utf-8", "replace")


def parse_commit(oid: str, data: bytes) -> Commit:
    """Read a commit object, whoever wrote it."""
    header, _, message = data.decode("utf-8", "replace").partition("\n\n")
    fields: dict[str, list[str]] = {}
    for line in header.split("\n"):
        key, _, value = line.partition(" ")
        fields.setdefault(key, []).append(value)
    name, email, _ = _person(fields.get("author", [""])[0])
    committer, _, seconds = _person(fields.get("committer", [""])[0])
    subject, body, trailers = parse_message(message)
    return Commit(
        oid=oid,
        tree=fields["tree"][0],
        parents=tuple(fields.get("parent", ())),
        author=name,
        email=email,
        committer=committer,
        time=seconds * 1000,
        subject=subject,
        body=body,
        trailers=trailers,
        signed="gpgsig" in fields,
    )


def _person(text: str) -> tuple[str, str, int]:
    match = _PERSON.fullmatch(text)
    return (match[1], match[2], int(match[3])) if match else (text, "", 0)


def parse_message(message: str) -> tuple[str, str, dict[str, str]]:
    """Split a message into its subject, its body, and the trailers of its last paragraph."""
    subject, *paragraphs = re.split(r"\n\s*\n", message.strip())
    trailers: dict[str, str] = {}
    if paragraphs:
        lines = [_TRAILER.fullmatch(line) for line in paragraphs[-1].split("\n")]
        if all(lines):
            paragraphs.pop()
            for match in lines:
                key, value = (match[1], match[2]) if match else ("", "")
                trailers[key] = f"{trailers[key]}\n{value}" if key in trailers else value
    return " ".join(subject.split("\n")), "\n\n".join(paragraphs), trailers


def compose_message(subject: str, body: str = "", trailers: Mapping[str, str] | None = None) -> str:
    """Return a message; a trailer's value is kept on one line, since a new line would end it."""
    lines = [f"{key}: {' '.join(value.split())}" for key, value in (trailers or {}).items()]
    return "\n\n".join(part for part in (subject.strip(), body.strip(), "\n".join(lines)) if part)


def now_seconds(at: int | None) -> int:
    """Return `at` (milliseconds since the epoch), or the time now, in Git's seconds."""
    return int(time.time()) if at is None else at // 1000
