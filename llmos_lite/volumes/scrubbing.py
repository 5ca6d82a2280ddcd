"""Taking a text out of the whole history of a volume's skills, and finishing what a crash cut short."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from llmos_lite.engines.git import LocalGitStore
from llmos_lite.engines.git_history import History
from llmos_lite.engines.git_scrub import PLAN, Change, Plan, Rewriter, Stone, finish, holding, move, note, noted, tidy
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import Conflict, StorageFailed, storage_error


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What was done; without a plan, no commit held the text.

    `pruned` objects are gone, `files` of the work tree that llmos does not keep in Git still hold the text.
    """

    plan: Plan | None
    pruned: int
    files: tuple[str, ...]


def scrub(store: LocalGitStore, signer: Signer, stone: Stone, change: Change, *, everywhere: bool = True) -> Scrubbed:
    """Rewrite every branch without a text, remove the old objects, and show that none of them is left.

    Args:
        store: the volume's skills.
        signer: signs the new commits.
        stone: what the tombstone says.
        change: takes the text out.
        everywhere: whether it does so whatever the path.

    Raises:
        Conflict: `scrub.busy`, `scrub.refs`; nothing changed.
        StorageFailed: `scrub.left`, when an object still holds the text; otherwise, nothing changed, or the next
            opening finishes it.
    """
    gitdir = store.gitdir
    with _writing(), store.lock():
        if store.work_tree is not None and not store.work_tree.active():
            raise Conflict(
                "scrub.busy",
                "A merge or rebase is going on in this volume's folder.",
                hint="Finish it, then try again.",
            )
        store.adopt()
        plan = Rewriter(gitdir, signer, change).run(stone)
        if plan is not None:
            note(gitdir, plan)
            plan = _carry_out(store, plan)
    with _writing():
        pruned = _prune(store, signer)
        if plan is not None:
            finish(gitdir, plan)
        left = holding(gitdir, change) if everywhere else Rewriter(gitdir, signer, change).left()
        if left:
            raise StorageFailed(
                "scrub.left",
                f"{len(left)} objects or files of the repository still hold the text: {', '.join(left[:5])}.",
                hint="Remove `.keep` files, stashes and tags in the volume's folder, then scrub again.",
            )
        return Scrubbed(plan, pruned, tuple(_left_files(store.path, change)))


def resume(store: LocalGitStore, signer: Signer) -> None:
    """Finish a scrub that was cut short; nothing happens without one. Cheap."""
    if not (store.gitdir / PLAN).exists():
        return
    with _writing(), store.lock():
        plan = noted(store.gitdir)
        if plan is not None and not plan.moved:
            plan = _carry_out(store, plan)
    if plan is not None:
        with _writing():
            _prune(store, signer)
            finish(store.gitdir, plan)


def _carry_out(store: LocalGitStore, plan: Plan) -> Plan:
    """Move branches and files; the caller holds the repository lock."""
    move(store.gitdir, plan)
    store.follow(plan.main[0])
    moved = msgspec.structs.replace(plan, moved=True)
    note(store.gitdir, moved)
    return moved


def _prune(store: LocalGitStore, signer: Signer) -> int:
    store.close_objects()
    tidy(store.gitdir)
    with contextlib.closing(History(store.gitdir, signer)) as history:
        try:
            return history.prune()
        except StorageFailed as error:
            if error.code != "storage.prune":  # something else is left behind; whether it matters is looked at
                raise
            return 0


def _left_files(tree: Path, change: Change) -> Iterator[str]:
    """Yield files beside the repository that hold the text, and are nobody's business here."""
    for folder, names, files in os.walk(tree):
        names[:] = [name for name in names if name not in {".git", "traces.git"}]
        for name in files:
            path = Path(folder, name)
            relative = path.relative_to(tree).as_posix()
            with contextlib.suppress(OSError):
                if not path.is_symlink() and path.is_file() and change(relative, data := path.read_bytes()) != data:
                    yield relative


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(error, "scrub the history") from error
