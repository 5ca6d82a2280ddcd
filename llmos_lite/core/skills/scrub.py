"""Rewriting the history of a volume's skills without a text: a secret, or what was quoted from an erased trace.

Clones, backups and mirrors keep the old history, and a clone that is pushed from again would bring it back: so whoever
has one clones again. What became of each version is kept, the text is not.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from llmos_lite.core.accounts.permissions import Actor, Verb, permit
from llmos_lite.core.proposals.log import ULID, decoded
from llmos_lite.core.traces.skill_quotes import LEAST_WORDS, TAKEN_OUT
from llmos_lite.core.traces.trace import make_ulid, now_ms
from llmos_lite.engines.git import MAIN, METADATA, LocalGitStore, compose_message
from llmos_lite.engines.git import PLATFORM as LLMOS
from llmos_lite.engines.git_scrub import GONE, Change, Stone
from llmos_lite.errors import Conflict, Invalid, LlmosError, NotFound
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager
from llmos_lite.volumes.scrubbing import Scrubbed, scrub
from llmos_lite.volumes.skill_paths import file_path, flat_path, skill_of

SHORTEST = 6
"""Characters of a text, so that no common word is taken out of everything."""
LONGEST = 64_000
MOST_TEXTS = 50
REASON_LENGTH = 500
MOST_COMMITS = 1 << 20
_FIXED = b"skills/SKILL.md\0memory/\0metadata.json\0README.md\0description:\0keywords:\0category:\0allowed-tools:"
"""Words that every volume is made of."""
_EVENT = re.compile(rf"\d{{4}}-\d{{2}}/{ULID.pattern}/\d{{6}}\.json")
_SAID = ("text", "reason", "path", "paths", "source", "branch", "skill_id")
"""What people say in an event of a proposal; the rest is how llmos finds its way."""
_BEGINNING, _AGAIN = 16, 16
"""Bytes of a text's beginning, and how often they may come again in it: else a search tries each place for long, and
nothing else runs meanwhile."""
_GAP = rb"[\s>]{1,40}"
"""Between two words of a text: a line may have been wrapped, or quoted, since."""

Reached = Callable[[VolumeRef], Awaitable[Sequence[str]]]
"""Names the remotes that a volume is sent to or comes from."""
After = Callable[[VolumeRef], Awaitable[None]]
"""Brings rows in step with a volume."""


class ScrubReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was done.

    `commits` are new, `objects` were removed, `resigned` commits of people lost their own signature; `branches` moved.
    `files` of the folder that are not in Git still hold the text; `remotes` keep the old history.
    """

    volume: str
    scrub_id: str
    commits: int = 0
    objects: int = 0
    resigned: int = 0
    branches: list[str] = []
    files: list[str] = []
    remotes: list[str] = []


@dataclass(frozen=True, slots=True)
class _What:
    """What goes: a pattern for everything, or one for each skill."""

    everywhere: re.Pattern[bytes] | None
    skills: Mapping[str, re.Pattern[bytes]]

    def change(self) -> Change:
        """Return what takes it out."""
        if (pattern := self.everywhere) is not None:

            def anywhere(path: str, data: bytes) -> bytes:
                left = pattern.sub(GONE, data)
                if path and left != data:
                    _require_usable(path, data, left)
                return left

            return anywhere

        def of_skill(path: str, data: bytes) -> bytes:
            found = self.skills.get(skill_of(path)) if path else None
            return data if found is None else found.sub(TAKEN_OUT.encode(), data)

        return of_skill


class Scrubber:
    """Rewrites the history of volumes, one at a time.

    Args:
        volumes: where they are.
        remotes: names those that would diverge.
        after: what is done when a history is another one.
    """

    def __init__(self, volumes: VolumeManager, remotes: Reached, after: After) -> None:
        self._volumes, self._remotes, self._after = volumes, remotes, after
        self._one = asyncio.Lock()

    async def scrub(
        self,
        actor: Actor,
        ref: VolumeRef,
        *,
        texts: Sequence[str] = (),
        quoted: bool = False,
        reason: str = "",
        diverge: bool = False,
    ) -> ScrubReport:
        """Take texts out of every commit of a volume's skills, as an admin of it; it cannot be undone.

        Args:
            actor: an admin of the volume.
            ref: the volume.
            texts: what goes, wherever it stands; spaces and line ends between its words may differ.
            quoted: instead, what skills quoted from erased traces.
            reason: why, for the tombstone; it must not hold the text.
            diverge: do it though remotes keep the old history.

        Raises:
            Forbidden: `role.missing`.
            NotFound: `volume.unknown`.
            Invalid: `scrub.text`, `scrub.reason`.
            Conflict: `scrub.remotes`, `scrub.busy`, `scrub.refs`, `scrub.needed`; nothing changed.
            StorageFailed: `scrub.left`.
        """
        permit(actor, Verb.ADMINISTER, ref)
        if not await asyncio.to_thread(self._volumes.exists, ref):
            raise NotFound("volume.unknown", f"There is no volume {ref} that you may see.")
        if bool(texts) == quoted:
            raise Invalid("scrub.text", "Say which texts are to go, or that quotations are, not both.")
        pattern = pattern_of(texts) if texts else None
        reason = " ".join(reason.split())[:REASON_LENGTH]
        if pattern is not None and pattern.search(reason.encode()):
            raise Invalid("scrub.reason", "The reason holds the text that is to go; it would stay for ever.")
        remotes = list(await self._remotes(ref))
        if remotes and not diverge:
            raise Conflict(
                "scrub.remotes",
                f"{ref} is sent to, or comes from: {', '.join(remotes)}. They keep the old history, and would diverge.",
                hint="Remove them, or say that they may diverge and mend them by hand.",
                remotes=remotes,
            )
        async with self._one:
            done = await asyncio.to_thread(self._scrub, actor.user_id, ref, pattern, reason)
            await self._after(ref)
        return _report(ref, done, remotes)

    def _scrub(self, by: str, ref: VolumeRef, pattern: re.Pattern[bytes] | None, reason: str) -> Scrubbed:
        volume = self._volumes.open(PLATFORM, ref, write=True)
        store = volume.store
        if not isinstance(store, LocalGitStore):
            raise Conflict("scrub.store", "The history of this store cannot be rewritten here.")
        what = _What(pattern, {} if pattern else quotations(volume))
        at = now_ms()
        scrub_id = make_ulid(at)
        trailers = {"Skill-Op": "scrub", "Scrub-Id": scrub_id, "Scrub-By": by, "Scrub-Commits": "{commits}"}
        message = compose_message(f"Scrub the history of {ref}{f' - Reason: {reason}' if reason else ''}", "", trailers)
        if pattern and pattern.search("\0".join((message, f"{by}@localhost", LLMOS.name, LLMOS.email)).encode()):
            raise Invalid("scrub.text", "The commit that says what was done would hold the text: who, where or a word.")
        stone = Stone(scrub_id, by, at, reason, message, LLMOS)
        return scrub(store, self._volumes.signer, stone, what.change(), everywhere=pattern is not None)


def _report(ref: VolumeRef, done: Scrubbed, remotes: list[str]) -> ScrubReport:
    plan = done.plan
    if plan is None:
        return ScrubReport(volume=str(ref), scrub_id="", objects=done.pruned, files=list(done.files), remotes=remotes)
    branches = [name.removeprefix("refs/heads/") for name in plan.refs]
    return ScrubReport(
        volume=str(ref),
        scrub_id=plan.scrub_id,
        commits=plan.commits,
        objects=done.pruned,
        resigned=plan.resigned,
        branches=branches,
        files=list(done.files),
        remotes=remotes,
    )


def pattern_of(texts: Sequence[str]) -> re.Pattern[bytes]:
    """Return what finds texts in files: as they are, wrapped or quoted otherwise, and as JSON writes them.

    Raises:
        Invalid: `scrub.text`.
    """
    if len(texts) > MOST_TEXTS:
        raise Invalid("scrub.text", f"{MOST_TEXTS} texts at once are the most.")
    forms: set[bytes] = set()
    for text in texts:
        bare = text.strip()
        if not SHORTEST <= len(bare) <= LONGEST:
            raise Invalid("scrub.text", f"A text has {SHORTEST} to {LONGEST:,} characters; this one has {len(bare)}.")
        try:
            forms |= {
                form.encode() for form in (bare, *(json.dumps(bare, ensure_ascii=how)[1:-1] for how in (True, False)))
            }
        except UnicodeEncodeError:
            raise Invalid("scrub.text", "The text holds characters that no text has (lone surrogates).") from None
    pattern = re.compile(b"|".join(_spaced(form) for form in sorted(forms, key=len, reverse=True)))
    fixed = pattern.search(_FIXED)
    if fixed is not None:
        raise Invalid("scrub.text", f"Every volume is made of the word {fixed[0].decode()!r}; it cannot be taken out.")
    return pattern


def _require_usable(path: str, data: bytes, left: bytes) -> None:
    """Raise when llmos could not use one of its own files any more.

    Raises:
        Conflict: `scrub.needed`.
    """
    try:
        usable = _own(path, data) == _own(path, left)
    except (LlmosError, ValueError, AttributeError):
        usable = False
    if not usable:
        raise Conflict(
            "scrub.needed",
            f"The text stands in {path} as something that llmos needs: an id, a time, or a word of its own.",
            hint="Give more of the text around it.",
        )


def _own(path: str, data: bytes) -> object:
    """Return what llmos needs of one of its own files; nothing of any other."""
    if path == METADATA:
        found = json.loads(data)
        return [found.get(key) for key in ("volume", "format", "policy")]
    if _EVENT.fullmatch(path):
        return msgspec.structs.replace(decoded(path, data), **dict.fromkeys(_SAID, ""))
    return None


def _spaced(form: bytes) -> bytes:
    """Return what finds a form; no word begins with what a gap takes, so there is one way to match."""
    words = [word for part in form.split() if (word := part.lstrip(b">"))]
    plain = b" ".join(words)
    if len(plain) < SHORTEST:
        raise Invalid("scrub.text", f"A text has at least {SHORTEST} characters other than spaces and `>`.")
    starts = (plain.startswith(plain[:_BEGINNING], place) for place in range(len(plain)))
    if sum(starts) > _AGAIN:
        raise Invalid(
            "scrub.text", "The beginning of a text comes again and again in it.", hint="Leave its beginning out."
        )
    return _GAP.join(re.escape(word) for word in words)


def quotations(volume: GitVolume) -> dict[str, re.Pattern[bytes]]:
    """Return what finds, by skill, the lines that an erasure took out of it."""
    found: dict[str, set[str]] = {}
    for branch in volume.branches():
        if branch != MAIN and not branch.startswith("pr/"):
            continue
        for commit in volume.get_git_log(MOST_COMMITS, branch=branch):
            if commit.trailers.get("Skill-Op") == "erase" and commit.parents:
                for skill_id, lines in _taken_out(volume, commit.parents[0], commit.oid):
                    found.setdefault(skill_id, set()).update(lines)
    return {skill_id: _lines_pattern(lines) for skill_id, lines in found.items() if lines}


def _taken_out(volume: GitVolume, before: str, after: str) -> Iterator[tuple[str, set[str]]]:
    old, new = ({entry.skill_id: entry.version for entry in volume.list_skills(at=at)} for at in (before, after))
    for skill_id in (name for name in old if old[name] != new.get(name)):
        was, now = (_lines(volume, skill_id, at) for at in (before, after))
        yield skill_id, {line for line in was - now if len(line.split()) >= LEAST_WORDS}


def _lines(volume: GitVolume, skill_id: str, at: str) -> set[str]:
    for path in (file_path(skill_id), flat_path(skill_id)):
        try:
            return {line.strip() for line in volume.store.read(path, at=at).decode("utf-8", "replace").splitlines()}
        except LlmosError:
            continue
    return set()


def _lines_pattern(lines: set[str]) -> re.Pattern[bytes]:
    return re.compile(b"|".join(re.escape(line.encode()) for line in sorted(lines, key=len, reverse=True)))
