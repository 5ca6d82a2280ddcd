"""Which logs are followed, how far each was sent, and what happens in one round."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from llmos_lite.core.traces.importers.following import Followed, Part, Place
from llmos_lite.errors import Invalid, storage_error

UPLOAD = 64 << 20
"""Bytes that go to the server at a time, unless one part is longer."""

Send = Callable[[Sequence[Part]], None]


def usual_folders(env: Mapping[str, str]) -> list[Path]:
    """Return where Claude Code and Codex keep their logs, as far as these folders are there."""
    home = Path(env.get("HOME") or "~").expanduser()
    found = [
        Path(env.get("CLAUDE_CONFIG_DIR") or home / ".claude") / "projects",
        Path(env.get("CODEX_HOME") or home / ".codex") / "sessions",
    ]
    return [folder for folder in found if folder.is_dir()]


@dataclass(slots=True)
class Kept:
    """The state file: how far each log was sent, for each server and person.

    Args:
        path: the file.
        whom: the server, and the person the traces are of.
        places: by path of the log.
    """

    path: Path
    whom: str
    places: dict[str, Place] = field(default_factory=dict)

    @classmethod
    def usual(cls, env: Mapping[str, str]) -> Path:
        """Return where the file is, if nobody says."""
        state = env.get("XDG_STATE_HOME") or str(Path(env.get("HOME") or "~").expanduser() / ".local" / "state")
        return Path(state) / "llmos" / "watch.json"

    @classmethod
    def read(cls, path: Path, whom: str) -> Kept:
        """Read the file; one that is missing or damaged says nothing, and everything is sent once more."""
        found = _read(path).get(whom)
        places = found if isinstance(found, dict) else {}
        return cls(path, whom, {name: place for name, kept in places.items() if (place := _place(kept))})

    def write(self) -> None:
        """Write the file in one step.

        Raises:
            StorageFailed: it cannot be written.
        """
        content = _read(self.path) | {self.whom: {name: asdict(place) for name, place in self.places.items()}}
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside.touch(mode=0o600)
            beside.write_text(json.dumps(content), encoding="utf-8")
            beside.replace(self.path)
        except OSError as error:
            raise storage_error(error, f"write {self.path}") from error


class Watch:
    """Follows logs.

    Args:
        folders: with the logs; single files will do.
        kept: how far each was sent.
        send: takes parts to the server; raises when it did not take them.
    """

    def __init__(self, folders: Sequence[Path], kept: Kept, send: Send) -> None:
        self._folders, self._kept, self._send = folders, kept, send
        self._followed: dict[str, Followed] = {}

    def round(self, now: float) -> int:
        """Send what is new and whole, and return how many bytes that were.

        What the server cannot take as it is (too large for it) is passed over, once.

        Raises:
            LlmosError: of the server; what it did not take comes with the next round.
        """
        sent = 0
        while parts := self._parts(now):
            for group in _groups(parts):
                with contextlib.suppress(Invalid):
                    self._send([part for _, part in group])
                self._note(group)
                sent += sum(part.size for _, part in group)
        return sent

    def _parts(self, now: float) -> list[tuple[Followed, Part]]:
        found = []
        there = set()
        for path in self._logs():
            there.add(name := str(path))
            file = self._followed.get(name)
            if file is None:
                file = self._followed[name] = Followed(path, self._kept.places.get(name))
            with contextlib.suppress(OSError):  # gone, or not ours to read
                if part := file.look(now):
                    found.append((file, part))
        self._forget(there)
        return found

    def _logs(self) -> Iterator[Path]:
        for folder in self._folders:
            if folder.is_file():
                yield folder
            for where, _, files in os.walk(folder):
                yield from (Path(where, name) for name in sorted(files) if name.endswith(".jsonl"))

    def _note(self, group: Iterable[tuple[Followed, Part]]) -> None:
        for file, part in group:
            with contextlib.suppress(OSError):
                file.sent(part)
                self._kept.places[str(file.path)] = file.place
        self._kept.write()

    def _forget(self, there: set[str]) -> None:
        """Forget files that are gone, unless a whole folder is (a disk that is not mounted)."""
        if all(folder.exists() for folder in self._folders):
            for name in (self._followed.keys() | self._kept.places.keys()) - there:
                if any(Path(name).is_relative_to(folder) for folder in self._folders):
                    self._followed.pop(name, None)
                    self._kept.places.pop(name, None)


def _groups(parts: Iterable[tuple[Followed, Part]]) -> Iterator[list[tuple[Followed, Part]]]:
    group: list[tuple[Followed, Part]] = []
    for item in parts:
        if group and sum(part.size for _, part in group) + item[1].size > UPLOAD:
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _read(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _place(kept: object) -> Place | None:
    if not isinstance(kept, dict):
        return None
    try:
        sent, turn, file = int(kept["sent"]), int(kept["turn"]), int(kept["file"])
        return Place(sent, turn, file, str(kept["begins"]), int(kept.get("asked", turn)))  # as versions before wrote it
    except (KeyError, TypeError, ValueError):
        return None
