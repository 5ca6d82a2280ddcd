"""What is to be erased, noted durably before the first copy goes, so that a crash in the middle is finished."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from llmos_lite.engines.git_pack import sync_folder
from llmos_lite.errors import storage_error

SUFFIX = ".erasure"


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure that was asked for: which copies, by whom, when (milliseconds) and why.

    `before` is the time of a retention, which names no traces: everything older goes, without tombstones.
    `marks` are the hashed phrases of what goes, to find quotations by; see `quotes.Marks`.
    """

    erasure_id: str
    by: str
    at: int
    reason: str = ""
    copies: dict[str, tuple[str, ...]] = {}
    """Trace ids, by volume."""
    before: int = 0
    marks: bytes = b""

    @property
    def trace_ids(self) -> list[str]:
        """Return the ids of all copies."""
        return [trace_id for ids in self.copies.values() for trace_id in ids]


class Erasures:
    """The erasures that are not finished, one file each.

    Args:
        folder: where they lie; made when missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, erasure: Erasure) -> None:
        """Note an erasure; it is durable when this returns.

        Raises:
            StorageFailed: it is not noted.
        """
        draft = self._path(erasure.erasure_id).with_suffix(".draft")
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(msgspec.msgpack.encode(erasure))
                file.flush()
                os.fsync(file.fileno())
            draft.rename(self._path(erasure.erasure_id))
            sync_folder(self._folder)
            sync_folder(self._folder.parent)
        except OSError as error:
            raise storage_error(error, "note what is to be erased") from error

    def all(self) -> list[Erasure]:
        """Return what is not finished, oldest first."""
        files = sorted(self._folder.glob(f"*{SUFFIX}"))
        return [msgspec.msgpack.decode(file.read_bytes(), type=Erasure) for file in files]

    def remove(self, erasure_id: str) -> None:
        """Note that an erasure is finished."""
        self._path(erasure_id).unlink(missing_ok=True)
        sync_folder(self._folder)

    def _path(self, erasure_id: str) -> Path:
        return self._folder / f"{erasure_id}{SUFFIX}"
