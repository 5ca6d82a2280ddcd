"""A disk in memory that can lose its power: what was not made durable is kept, or not, sector by sector."""

from __future__ import annotations

import errno
import random
from collections.abc import Sequence

SECTOR = 512


class PowerCutDisk:
    """The files of a folder, as `engines.journal_disk.Disk` wants them.

    Args:
        files: the content after the last cut of power, by name.
        room: bytes that fit; None for no limit.
    """

    def __init__(self, files: dict[str, bytes] | None = None, room: int | None = None) -> None:
        self.durable = {name: bytearray(content) for name, content in (files or {}).items()}
        self.cached = {name: bytearray(content) for name, content in self.durable.items()}
        self.dirty: dict[str, set[int]] = {name: set() for name in self.durable}
        self.room = room
        self.broken = False
        self.syncs = 0

    def names(self) -> list[str]:
        return sorted(self.cached)

    def create(self, name: str, size: int) -> None:
        self._check()
        if self.room is not None and sum(map(len, self.cached.values())) + size > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.durable[name], self.cached[name], self.dirty[name] = bytearray(size), bytearray(size), set()

    def size(self, name: str) -> int:
        return len(self.cached[name])

    def read(self, name: str, offset: int, length: int) -> bytes:
        return bytes(self.cached[name][offset : offset + length])

    def write(self, name: str, offset: int, data: bytes) -> None:
        assert offset + len(data) <= len(self.cached[name])
        self.cached[name][offset : offset + len(data)] = data
        self.dirty[name].update(range(offset // SECTOR, -(-(offset + len(data)) // SECTOR)))

    def write_durably(self, name: str, offset: int, parts: Sequence[bytes]) -> None:
        data = b"".join(parts)
        if self.broken:  # as a real disk fails: something of it may be there
            self.write(name, offset, data[: len(data) // 2])
        self._check()
        self.write(name, offset, data)
        self.sync(name)

    def sync(self, name: str) -> None:
        self._check()
        self.syncs += 1
        for sector in self.dirty[name]:
            start = sector * SECTOR
            self.durable[name][start : start + SECTOR] = self.cached[name][start : start + SECTOR]
        self.dirty[name].clear()

    def remove(self, name: str) -> None:
        for files in (self.durable, self.cached, self.dirty):
            files.pop(name)

    def close(self) -> None:
        """Nothing is open."""

    def cut(self, chance: random.Random, *, pending: tuple[str, int, bytes] | None = None) -> PowerCutDisk:
        """Return the disk after its power was cut: each sector that was not synced is there, or is not.

        Args:
            chance: decides for each sector.
            pending: a durable write (name, offset, data) that was under way.
        """
        if pending is not None:
            self.write(*pending)
        after = {name: bytearray(content) for name, content in self.durable.items()}
        for name, sectors in self.dirty.items():
            for sector in sectors:
                if chance.random() < 0.5:
                    start = sector * SECTOR
                    after[name][start : start + SECTOR] = self.cached[name][start : start + SECTOR]
        return PowerCutDisk({name: bytes(content) for name, content in after.items()}, self.room)

    def _check(self) -> None:
        if self.broken:
            raise OSError(errno.EIO, "Input/output error")
