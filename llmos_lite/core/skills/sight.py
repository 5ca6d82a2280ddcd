"""What somebody sees when skills are chosen: which volumes, in which order, and whose goals count."""

from __future__ import annotations

from collections.abc import Iterator

from llmos_lite.core.accounts.permissions import Actor, Verb, allowed
from llmos_lite.volumes.access import SYSTEM, VolumeRef, require


class Sight:
    """What one actor sees in the context of one team.

    Args:
        actor: the person.
        team_id: the chosen team; without it all teams of the person count, in alphabetical order.

    Attributes:
        refs: the volumes, the one that wins first.
        names: theirs, in one text.
        asked: those whose goals the actor's choice profits from: the actor's own, and those of the teams. A credential
            that may neither chat nor read traces gets none: the order of its hits would tell of them.

    Raises:
        NotFound: `volume.unknown`, for a team that the actor is not in.
    """

    __slots__ = ("actor", "asked", "names", "refs")

    def __init__(self, actor: Actor, team_id: str | None = None) -> None:
        teams = [VolumeRef.team(team) for team in ([team_id] if team_id else sorted(actor.teams))]
        if team_id:
            require(actor.principal, teams[0], write=False)
        self.actor = actor
        self.refs = tuple(dict.fromkeys((actor.volume, *teams, SYSTEM)))
        self.names = " ".join(map(str, self.refs))
        self.asked = tuple(_asked(actor, (actor.volume, *teams)))


def _asked(actor: Actor, refs: tuple[VolumeRef, ...]) -> Iterator[str]:
    for ref in refs:
        if allowed(actor, Verb.CHAT, ref) or allowed(actor, Verb.READ_TRACES, ref):
            yield str(ref)
