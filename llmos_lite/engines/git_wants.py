"""What a fetch asks for, looked at before git does.

Over protocol version 2 `git upload-pack` hands out every object whose id somebody knows, whatever `transfer.hideRefs`
says. So whoever sees some refs alone gets only what these refs lead to: that is told here.
Older versions of the protocol are told by git itself.
"""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from llmos_lite.engines.git_audit import all_refs, contains
from llmos_lite.engines.git_refs import OID
from llmos_lite.errors import Invalid

_LENGTH = 4
_MARKS = 3
"""Lengths below this are marks: the end of a part, of a section, of an answer."""


def wants(body: bytes) -> list[str]:
    """Return the ids that a request of protocol version 2 wants.

    Raises:
        Invalid: `git.protocol`, when it is no such request, or asks for refs by name.
    """
    found: dict[str, None] = {}
    for line in _lines(body):
        word, _, rest = line.rstrip(b"\n").partition(b" ")
        if word == b"want":
            oid = rest.decode("ascii", "replace")
            if not OID.fullmatch(oid):
                raise _garbled()
            found[oid] = None
        elif word.startswith(b"want"):
            raise _garbled()
    return list(found)


def _lines(body: bytes) -> Iterator[bytes]:
    """Yield the packet lines (gitprotocol-common(5))."""
    at = 0
    while at < len(body):
        head = body[at : at + _LENGTH]
        try:
            size = int(head, 16) if head.isalnum() and len(head) == _LENGTH else -1
        except ValueError:
            size = -1
        if 0 <= size < _MARKS:
            at += _LENGTH
            continue
        if size < _LENGTH or at + size > len(body):
            raise _garbled()
        yield body[at + _LENGTH : at + size]
        at += size


def _garbled() -> Invalid:
    return Invalid("git.protocol", "The request is no fetch of git's protocol version 2.")


def beyond(gitdir: Path, wanted: Sequence[str], shown: Collection[str]) -> str | None:
    """Return the first id that no shown ref leads to; None when all of them may be had.

    Args:
        gitdir: the repository's own folder.
        wanted: ids of any kind of object.
        shown: prefixes of refs, as `transfer.hideRefs` understands them.
    """
    tips = {oid for name, oid in all_refs(gitdir).items() if OID.fullmatch(oid) and _is_shown(name, shown)}
    left = [oid for oid in wanted if oid not in tips]
    left = [oid for oid in left if not any(contains(gitdir, tip, oid) for tip in tips)]
    if not left:
        return None
    missing = set(left) - _reached(gitdir, tips, set(left))
    return next((oid for oid in left if oid in missing), None)


def _is_shown(name: str, shown: Collection[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}/") for prefix in shown)


def _reached(gitdir: Path, tips: Collection[str], wanted: set[str]) -> set[str]:
    """Return those of some trees and files that commits lead to: a partial clone asks for them one by one."""
    words = ("rev-list", "--objects", "--no-object-names", "--stdin")
    command = ["git", "-c", "safe.directory=*", "--git-dir", str(gitdir), *words]
    pipe, found = subprocess.PIPE, set[str]()
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:  # noqa: S603 - our own words, no shell
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both ends were asked for")
        process.stdin.write("".join(f"{tip}\n" for tip in tips))
        process.stdin.close()
        for line in process.stdout:
            oid = line.strip()
            if oid in wanted:
                found.add(oid)
                if len(found) == len(wanted):
                    process.kill()
                    break
    return found
