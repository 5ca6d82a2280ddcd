"""A store of files by key: a folder of this machine, or a bucket of S3, Google or Azure, by one library.

Credentials of a bucket come from where its own tools look for them, as `AWS_ACCESS_KEY_ID`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from llmos_lite.errors import Invalid, NotFound, StorageFailed, storage_error

if TYPE_CHECKING:
    from obstore.store import ObjectStore

BLOCK = 1 << 20
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "bucket does not exist")
"""How S3, Azure and Google say that not the file is missing but the place of all of them."""
SCHEMES = ("file", "s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "memory")


class Objects(Protocol):
    """Files by key; a key is made of plain names joined by `/`."""

    def put(self, key: str, content: Path | bytes) -> None:
        """Store a file, durably; the one that was there is replaced at once.

        Raises:
            StorageFailed: `objects.failed`, or what the disk says.
        """

    def blocks(self, key: str) -> Iterator[bytes]:
        """Yield the content of a file.

        Raises:
            NotFound: `object.unknown`.
        """

    def read(self, key: str) -> bytes:
        """Return the content of a small file.

        Raises:
            NotFound: `object.unknown`.
        """

    def listed(self, prefix: str = "") -> list[str]:
        """Return the keys below a folder, in order."""

    def remove(self, key: str) -> None:
        """Remove a file; nothing happens when there is none."""


class StoredObjects:
    """Files by key in a folder or a bucket; the library is loaded on first use.

    Args:
        url: `file:///path`, `s3://bucket/prefix`, `gs://…`, `az://…`; or the path of a folder, made when missing.

    Raises:
        Invalid: `objects.url`.
    """

    def __init__(self, url: str) -> None:
        scheme = urlsplit(url).scheme
        if scheme and scheme not in SCHEMES:
            raise Invalid("objects.url", f"{url[:80]!r} names no store.", hint="Write s3://bucket/prefix, or a folder.")
        self._url = url
        self._folder = Path(urlsplit(url).path if scheme == "file" else url) if scheme in {"", "file"} else None
        self._opened: ObjectStore | None = None

    def put(self, key: str, content: Path | bytes) -> None:
        """Store a file; see `Objects`."""
        from obstore import put  # noqa: PLC0415 - 0.05 s that only archives pay

        with self._translated(f"store {key}"):
            put(self._store(), key, content)
            if self._folder is not None:
                _settle(self._folder / key, self._folder)

    def blocks(self, key: str) -> Iterator[bytes]:
        """Yield the content of a file; see `Objects`."""
        from obstore import get  # noqa: PLC0415 - as above

        with self._translated(f"read {key}"):
            for block in get(self._store(), key).stream(min_chunk_size=BLOCK):
                yield bytes(block)

    def read(self, key: str) -> bytes:
        """Return the content of a small file; see `Objects`."""
        return b"".join(self.blocks(key))

    def listed(self, prefix: str = "") -> list[str]:
        """Return the keys below a folder; see `Objects`."""
        if self._folder is not None and not self._folder.exists():
            return []
        from obstore import list as list_  # noqa: PLC0415 - as above

        with self._translated("list the store"):
            return sorted(str(item["path"]) for batch in list_(self._store(), prefix or None) for item in batch)

    def remove(self, key: str) -> None:
        """Remove a file; see `Objects`."""
        from obstore import delete  # noqa: PLC0415 - as above

        try:
            with self._translated(f"remove {key}"):
                delete(self._store(), key)
                if self._folder is not None:
                    _sync((self._folder / key).parent)
        except NotFound:
            return

    def _store(self) -> ObjectStore:
        if self._opened is None:
            from obstore.store import LocalStore, from_url  # noqa: PLC0415 - as above

            if self._folder is not None:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._opened = LocalStore(self._folder)
            else:
                self._opened = from_url(self._url)
        return self._opened

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        from obstore.exceptions import BaseError  # noqa: PLC0415 - as above

        try:
            yield
        except FileNotFoundError as error:
            if any(mark in str(error) for mark in _NO_BUCKET):
                raise StorageFailed(
                    "objects.failed", f"Could not {what}: there is no such bucket.", hint="Look at LLMOS_ARCHIVE_URL."
                ) from None
            raise NotFound("object.unknown", f"Could not {what}: there is no such file in the store.") from None
        except OSError as error:
            raise storage_error(error, what) from error
        except (BaseError, ValueError) as error:
            said = str(error).partition("\n")[0][:300]
            raise StorageFailed("objects.failed", f"Could not {what}: {said}", hint="Look at the store.") from error


def _settle(path: Path, root: Path) -> None:
    """Make a file durable, with the folders above it, and private."""
    path.chmod(0o600)
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
    for folder in path.parents:
        _sync(folder)
        if folder == root:
            return


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
