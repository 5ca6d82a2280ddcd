"""Checkpoints: the head of the chain, signed by the platform and committed into the system volume.

They lie in the branch `audit` of what is noted about the system volume (`refs/llmos/audit`), which no clone sees.
Whoever changes rows would have to forge these commits, too; backups carry them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from llmos_lite.engines.git import PLATFORM as LLMOS
from llmos_lite.engines.git import compose_message
from llmos_lite.engines.git_audit import SignedCommit, history
from llmos_lite.engines.git_objects import parse_commit
from llmos_lite.engines.signing import Signer
from llmos_lite.volumes.access import PLATFORM, SYSTEM
from llmos_lite.volumes.manager import VolumeManager

BRANCH = "audit"
FILE = "checkpoint.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of the chain at some time (ms since the epoch); `signed` says whether the platform signed this."""

    seq: int
    hash: str
    time: int
    commit: str = ""
    signed: bool = True


class Checkpoints:
    """Keeps checkpoints.

    Args:
        volumes: where the system volume is.
        signer: knows the platform's keys, earlier ones too.
    """

    def __init__(self, volumes: VolumeManager, signer: Signer) -> None:
        self._volumes, self._signer = volumes, signer

    def add(self, checkpoint: Checkpoint) -> None:
        """Commit a checkpoint, durably.

        Raises:
            StorageFailed: the disk is full, read-only or broken.
        """
        told = {"seq": checkpoint.seq, "hash": checkpoint.hash, "time": checkpoint.time}
        trailers = {"Audit-Seq": str(checkpoint.seq), "Audit-Hash": checkpoint.hash, "Audit-Time": str(checkpoint.time)}
        message = compose_message(f"Audit checkpoint {checkpoint.seq}", trailers=trailers)
        notes = self._volumes.open(PLATFORM, SYSTEM, write=True).notes
        notes.commit({FILE: json.dumps(told).encode() + b"\n"}, message, LLMOS, branch=BRANCH, at=checkpoint.time)

    def all(self) -> list[Checkpoint]:
        """Return every checkpoint, oldest first; one whose commit says no number has `seq` 0.

        Raises:
            Missing: one cannot be read.
        """
        head = self._volumes.open(PLATFORM, SYSTEM).notes.head(BRANCH)
        commits = history(self._volumes.folder(SYSTEM) / ".git", [head] if head else [])
        return [self._read(commit) for commit in reversed(list(commits))]

    def _read(self, commit: SignedCommit) -> Checkpoint:
        said = parse_commit(commit.oid, commit.payload).trailers
        return Checkpoint(
            seq=_number(said.get("Audit-Seq", "")),
            hash=said.get("Audit-Hash", ""),
            time=_number(said.get("Audit-Time", "")),
            commit=commit.oid,
            signed=self._signer.verify(commit.payload, commit.signature),
        )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
