"""Signing off: somebody has looked at what a scanner found in one exact version of a skill, and stands for it.

A sign-off is bound to the Git id of the skill's folder (of its file, for a flat one), so that any change of any file
revokes it. It is kept in the repository of the volume that it is about, beside the events of proposals.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence

import msgspec

from llmos_lite.core.skills.scan import Finding
from llmos_lite.core.skills.versions import Kept
from llmos_lite.engines.git import compose_message
from llmos_lite.engines.git_objects import FOLDER_MODE
from llmos_lite.errors import NotFound, Unavailable
from llmos_lite.volumes.git_volume import GitVolume, author_of

REF = "proposals"
"""Among the notes of a volume; see `core.proposals.log`."""
SIGNED = "signed"


class SignOff(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who stood for what.

    Args:
        digest: Git id of the skill's folder, or of its flat file.
        skill_id: the skill.
        by: who.
        at: when, in ms since the epoch.
        codes: what had been found, sorted.
        why: in their words.
        proposal_id: where it was proposed; empty when it was there already.
        erased: whether the words were taken out at their author's wish.
    """

    digest: str
    skill_id: str
    by: str
    at: int
    codes: tuple[str, ...] = ()
    why: str = ""
    proposal_id: str = ""
    erased: bool = False


def codes_of(found: Sequence[Finding]) -> tuple[str, ...]:
    """Return the codes of findings, each once, sorted."""
    return tuple(sorted({one.code for one in found}))


def path_of(digest: str) -> str:
    """Return where the sign-off of a version is kept."""
    return f"{SIGNED}/{digest[:2]}/{digest}.json"


def signed_off(volume: GitVolume, digest: str) -> SignOff | None:
    """Return who signed a version off for a volume; None for nobody.

    Raises:
        Unavailable: `signoff.unreadable`.
    """
    if volume.notes.head(REF) is None:
        return None
    try:
        data = volume.notes.read(path_of(digest), at=REF)
    except NotFound:
        return None
    return decoded(data)


def all_signed(volume: GitVolume) -> list[tuple[str, SignOff]]:
    """Return every sign-off of a volume with its path."""
    head = volume.notes.head(REF)
    found = list[tuple[str, SignOff]]()
    for folder in _tree(volume, SIGNED, head):
        found += [(path, decoded(volume.notes.read(path, at=REF))) for path in _tree(volume, folder, head)]
    return found


def signed_in(volume: GitVolume) -> frozenset[str]:
    """Return the versions that somebody signed off in a volume; one whose sign-off cannot be read is none of them."""
    head = volume.notes.head(REF)
    found = set[str]()
    for folder in _tree(volume, SIGNED, head):
        for path in _tree(volume, folder, head):
            with contextlib.suppress(NotFound, Unavailable):
                found.add(decoded(volume.notes.read(path, at=head)).digest)
    return frozenset(found)


def _tree(volume: GitVolume, folder: str, head: str | None) -> list[str]:
    try:
        return [entry.path for entry in volume.notes.tree(folder, at=head)] if head else []
    except NotFound:
        return []


def encoded(signed: SignOff) -> bytes:
    """Return a sign-off as its file."""
    return msgspec.json.format(msgspec.json.encode(signed), indent=2) + b"\n"


def decoded(data: bytes) -> SignOff:
    """Read the file of a sign-off.

    Raises:
        Unavailable: `signoff.unreadable`.
    """
    try:
        return msgspec.json.decode(data, type=SignOff)
    except msgspec.MsgspecError as error:
        hint = "Restore the volume from a backup."
        raise Unavailable("signoff.unreadable", f"A sign-off cannot be read: {error}.", hint=hint) from error


def write(volume: GitVolume, signed: SignOff) -> None:
    """Keep a sign-off that belongs to no proposal, durably."""
    # No word of a person stands in the message: an erasure replaces files alone.
    text = compose_message(
        f"Sign off {signed.skill_id} by {signed.by}", trailers={"Skill-Id": signed.skill_id, "Digest": signed.digest}
    )
    with volume.notes.lock():
        volume.notes.commit({path_of(signed.digest): encoded(signed)}, text, author_of(signed.by), branch=REF)


def tree_id(files: Mapping[str, Kept]) -> str:
    """Return the Git id of a folder that holds exactly these files, by their paths in it."""
    here: dict[str, tuple[bytes, str]] = {}
    below: dict[str, dict[str, Kept]] = {}
    for path, kept in files.items():
        name, slash, rest = path.partition("/")
        if slash:
            below.setdefault(name, {})[rest] = kept
        else:
            here[name] = (b"100755" if kept.executable else b"100644", kept.oid)
    here |= {name: (FOLDER_MODE, tree_id(inside)) for name, inside in below.items()}
    rows = sorted(here.items(), key=lambda row: os.fsencode(row[0]) + (b"/" if row[1][0] == FOLDER_MODE else b""))
    body = b"".join(mode + b" " + os.fsencode(name) + b"\0" + bytes.fromhex(oid) for name, (mode, oid) in rows)
    return hashlib.sha1(b"tree %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
