"""`python -m llmos_lite.core.skills.scan_helper`: scans what it is given on its standard input, until that ends.

It is nice, so that whoever waits for an answer of the server comes first, and ends when the server does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import BinaryIO

import msgspec

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.scan import FAILED, Scanner, findings, high, scanners_from
from llmos_lite.core.skills.scanning.house import with_house_rules
from llmos_lite.core.skills.signoffs import codes_of
from llmos_lite.core.skills.verdicts import rules_of
from llmos_lite.core.skills.watched import watched
from llmos_lite.engines import plugins
from llmos_lite.volumes.skill_paths import FILE

NICENESS = 10
LARGEST = 128 << 20
"""Bytes of a message."""
_LENGTH = 8


class Parcel(msgspec.Struct, frozen=True, array_like=True):
    """A folder to look at: the version that it is, the skill, and its files by paths as the file system has them."""

    version: str
    skill_id: str
    files: dict[bytes, bytes]

    @property
    def size(self) -> int:
        """Return about how many bytes it takes."""
        return sum(len(path) + len(data) for path, data in self.files.items())


class Said(msgspec.Struct, frozen=True, array_like=True):
    """What stands against a version; `final` unless a scanner failed."""

    version: str
    codes: tuple[str, ...]
    final: bool


def look(scanners: Mapping[str, Scanner], version: str, skill_id: str, files: Mapping[str, bytes]) -> Said:
    """Return what scanners say of a folder."""
    found = findings(scanners, Skill.parse(skill_id, files.get(FILE, b"")), files)
    return Said(version, codes_of(high(found)), all(one.code != FAILED for one in found))


def send(stream: BinaryIO, message: object) -> None:
    """Write one message."""
    data = msgspec.msgpack.encode(message)
    stream.write(len(data).to_bytes(_LENGTH, "big") + data)
    stream.flush()


def receive(stream: BinaryIO) -> bytes:
    """Return the next message; nothing at the end.

    Raises:
        ValueError: what is there is no message.
    """
    size = int.from_bytes(stream.read(_LENGTH), "big")
    if size > LARGEST:
        raise ValueError(f"no message has {size} bytes")
    return stream.read(size)


def main() -> None:
    """Say by what rules, then answer each message."""
    os.nice(NICENESS)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a plug-in may print
    scanners = with_house_rules(watched(scanners_from(plugins.load(plugins.SCANNERS))))
    send(answers, rules_of(scanners))
    while data := receive(sys.stdin.buffer):
        parcels = msgspec.msgpack.decode(data, type=list[Parcel])
        for parcel in parcels:  # one at a time, so that whoever waits sees that it goes on
            send(answers, _looked(scanners, parcel))


def _looked(scanners: Mapping[str, Scanner], parcel: Parcel) -> Said:
    files = {os.fsdecode(path): data for path, data in parcel.files.items()}
    return look(scanners, parcel.version, parcel.skill_id, files)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        os._exit(1)  # nobody is there any more, and nobody wants to read that
