"""Who wrote which line of a skill's file, and when.

Lines are followed from the newest version back, by the contents that a file had: what a commit shares with a parent is
passed on to it, the rest is its own. So a merge passes lines to both sides, and a renamed skill keeps its authors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from llmos_lite.engines.git import VolumeInterface
from llmos_lite.engines.git_diff import is_binary, lines_of, shared
from llmos_lite.errors import Invalid, NotFound, TooLarge
from llmos_lite.volumes.access import check_id
from llmos_lite.volumes.following import MOST_COMPARED, SIMILAR, Change, Place, history, similarity
from llmos_lite.volumes.skill_paths import FILE, file_path, flat_path, folder_path

LARGEST = 512 << 10
"""Bytes of a file that is blamed."""
MOST_LINES = 20_000
PATIENCE = 5.0
"""Seconds after which lines that are not found yet stay without a commit."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file; `change` is None when the search was given up before its commit was found."""

    text: str
    change: Change | None


@dataclass(frozen=True, slots=True)
class Blame:
    """A file with the commit of each line; not `complete` when the search took too long."""

    lines: list[Line]
    complete: bool


def blame(
    store: VolumeInterface, place: Place, name: str = FILE, *, clock: Callable[[], float] = time.monotonic
) -> Blame:
    """Return who wrote each line of a file of a skill, as it stands at a place of its history.

    Raises:
        NotFound: `file.unknown`.
        Invalid: `file.binary`, `file.invalid_path`.
        TooLarge: `file.too_large`.
    """
    start = _content(store, place.skill_id, name, place.start)
    if start is None:
        raise NotFound("file.unknown", f"The skill {place.skill_id} has no file {name[:200]!r} there.")
    data = store.blob(start)
    _check(data, name)
    search = _Search(store, name, {start: [(line, line) for line in range(len(lines_of(data)))]})
    complete = search.run(place, clock() + PATIENCE, clock)
    texts = [line.decode("utf-8", "replace") for line in lines_of(data)]
    return Blame([Line(text, search.found.get(number)) for number, text in enumerate(texts)], complete)


def _check(data: bytes, name: str) -> None:
    if is_binary(data):
        raise Invalid("file.binary", f"{name[:200]!r} is no text, and has no lines.")
    if len(data) > LARGEST or data.count(b"\n") > MOST_LINES:
        raise TooLarge(
            "file.too_large",
            f"{name[:200]!r} is too large to say who wrote each line: at most {LARGEST >> 10} KiB, {MOST_LINES} lines.",
        )


def _content(store: VolumeInterface, skill_id: str, name: str, at: str) -> str | None:
    """Return the id of a file's content in a commit: in the folder before the flat file, None for no file."""
    paths = [file_path(skill_id, name)]
    if name == FILE:
        folder = store.entry(folder_path(check_id(skill_id, "skill")), at=at)
        paths = paths if folder is not None and folder.is_tree else [flat_path(skill_id)]
    entries = [store.entry(path, at=at) for path in paths]
    return next((entry.oid for entry in entries if entry is not None and not entry.is_tree), None)


@dataclass(slots=True)
class _Search:
    """Lines on their way back: for each content that a file had, which line of it is which of the newest."""

    store: VolumeInterface
    name: str
    waiting: dict[str, list[tuple[int, int]]]
    found: dict[int, Change] = field(default_factory=dict)

    def run(self, place: Place, deadline: float, clock: Callable[[], float]) -> bool:
        """Look for every line; tell whether all were found in time."""
        going = True
        while going:
            going = False
            for change in history(self.store, place, 256, name=self.name):
                name = self.name
                self._take(change)
                if not self.waiting or clock() > deadline:
                    return not self.waiting
                if name != self.name:  # the file itself was renamed: its history goes on under the old name
                    place, going = change.after, True
                    break
        return not self.waiting

    def _take(self, change: Change) -> None:
        """Pass what a commit shares with its parents on to them; the rest is its own."""
        content = _content(self.store, change.skill_id, self.name, change.commit.oid)
        lines = self.waiting.pop(content, None) if content else None
        if content is None or lines is None:
            return
        for parent in change.commit.parents:
            before = self._before(change, parent)
            if before is not None and lines:
                lines = self._pass_on(lines, content, before)
        self.found.update((first, change) for first, _ in lines)

    def _before(self, change: Change, parent: str) -> str | None:
        """Return the content that became this one."""
        if change.kind == "renamed":
            return _content(self.store, change.renamed_from, self.name, parent)
        there = _content(self.store, change.skill_id, self.name, parent)
        return self._moved(change, parent) if there is None and self.name != FILE else there

    def _moved(self, change: Change, parent: str) -> str | None:
        """Return the content of the file of the same skill that became this one, under another name."""
        lead = folder_path(change.skill_id)
        now, before = (_files(self.store, lead, at) for at in (change.commit.oid, parent))
        gone = [path for path in before if path not in now][:MOST_COMPARED]
        text = self.store.blob(now[file_path(change.skill_id, self.name)])
        scores = [(similarity(self.store.blob(before[path]), text), path) for path in gone]
        score, path = max(scores, default=(0.0, ""))
        if score < SIMILAR:
            return None
        self.name = path.removeprefix(f"{lead}/")
        return before[path]

    def _pass_on(self, lines: list[tuple[int, int]], content: str, before: str) -> list[tuple[int, int]]:
        """Pass lines on to an older content, and return those that it does not have."""
        if content == before:
            self.waiting.setdefault(before, []).extend(lines)
            return []
        old, new = self.store.blob(before), self.store.blob(content)
        if is_binary(old) or len(old) > LARGEST:
            return lines
        same = {part.new + turn: part.old + turn for part in shared(old, new) for turn in range(part.size)}
        passed = [(first, same[line]) for first, line in lines if line in same]
        if passed:
            self.waiting.setdefault(before, []).extend(passed)
        return [(first, line) for first, line in lines if line not in same]


def _files(store: VolumeInterface, folder: str, at: str, deepest: int = 12) -> Mapping[str, str]:
    """Return the files below a folder with the ids of their contents."""
    found: dict[str, str] = {}
    for entry in store.tree(folder, at=at):
        if not entry.is_tree:
            found[entry.path] = entry.oid
        elif deepest:
            found |= _files(store, entry.path, at, deepest - 1)
    return found
