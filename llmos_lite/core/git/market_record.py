"""What a marketplace has shown: a commit for each time, in the volume's repository, below a ref that no clone sees.

What was held back at some time cannot be found out later: rules change with the program, and sign-offs come and go. So
it is written down, and a view is made of nothing but that and the history of `main`: every node, and every time anew,
gives the same commits.
"""

from __future__ import annotations

import msgspec

from llmos_lite.engines.git import compose_message
from llmos_lite.engines.volume_interface import PLATFORM
from llmos_lite.errors import Unavailable
from llmos_lite.volumes.git_volume import GitVolume

REF = "market"
FILE = "market.json"
_PAGE = 200


class Shown(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One time that a view moved.

    Args:
        main: the commit of the volume that it moved to.
        held: the versions that were held back then, sorted: of the commits that were new, and of the one before.
        first: whether the view begins here, as when history was rewritten.
    """

    main: str
    held: tuple[str, ...] = ()
    first: bool = False


def recorded(volume: GitVolume) -> str:
    """Return the commit of the last time; empty for none yet."""
    return volume.notes.head(REF) or ""


def record(volume: GitVolume, shown: Shown, expect: str) -> str:
    """Write one more time down, durably, and return its commit.

    Args:
        volume: as opened to write.
        shown: what to write.
        expect: the last time that whoever writes knows of.

    Raises:
        Conflict: `volume.moved`, when there was another one meanwhile.
    """
    text = compose_message("Show the marketplace", trailers={"Source-Commit": shown.main})
    data = msgspec.json.format(msgspec.json.encode(shown), indent=1) + b"\n"
    return volume.notes.commit({FILE: data}, text, PLATFORM, branch=REF, expect=expect).oid


def since(volume: GitVolume, head: str, known: str) -> list[tuple[str, Shown]]:
    """Return the times up to `head` with their commits, oldest first: those after `known`, or from the last beginning.

    Raises:
        Unavailable: `market.unreadable`.
    """
    found, oid = list[tuple[str, Shown]](), head
    while oid:
        page = volume.notes.log(limit=_PAGE, branch=oid)
        for commit in page:
            if commit.oid == known:
                return found[::-1]
            found.append((commit.oid, _read(volume, commit.oid)))
            if found[-1][1].first:
                return found[::-1]
        oid = page[-1].parents[0] if page and page[-1].parents else ""
    return found[::-1]


def _read(volume: GitVolume, commit: str) -> Shown:
    try:
        return msgspec.json.decode(volume.notes.read(FILE, at=commit), type=Shown)
    except msgspec.MsgspecError as error:
        hint = "Restore the volume from a backup."
        raise Unavailable(
            "market.unreadable", f"What a marketplace showed cannot be read: {error}.", hint=hint
        ) from error
