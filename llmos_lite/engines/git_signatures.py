"""Which commits of a repository the platform signed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pygit2

from llmos_lite.engines import git_odb  # noqa: F401 - sets libgit2's options before a repository is opened
from llmos_lite.engines.signing import Signer


def signed_commits(gitdir: Path, oids: Iterable[str], signer: Signer) -> set[str]:
    """Return those commits that this or an earlier key of the platform signed."""
    repository = pygit2.Repository(str(gitdir))
    try:
        return {oid for oid in oids if _is_signed(repository, oid, signer)}
    finally:
        repository.free()


def _is_signed(repository: pygit2.Repository, oid: str, signer: Signer) -> bool:
    commit = repository.get(oid)
    if not isinstance(commit, pygit2.Commit):
        return False
    signature, payload = commit.gpg_signature
    return bool(signature and payload) and signer.verify(bytes(payload), bytes(signature).decode("ascii", "replace"))
