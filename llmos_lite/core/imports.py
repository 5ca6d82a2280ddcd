"""Imports: whose work a log is, and the run that turns it into traces."""

from __future__ import annotations

import asyncio
from pathlib import Path

from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.permissions import Actor, Scope, Verb, permit, require, require_admin
from llmos_lite.core.evolution.service import Submit
from llmos_lite.core.runs import Runs
from llmos_lite.errors import Invalid
from llmos_lite.volumes import access
from llmos_lite.volumes.access import VolumeRef

IMPORT = "import"


class Imports:
    """Starts imports; the work itself is a worker's.

    Args:
        accounts: knows people.
        runs: the log of runs.
        jobs: does the runs.
    """

    def __init__(self, accounts: Accounts, runs: Runs, jobs: Submit) -> None:
        self._accounts, self._runs, self._jobs = accounts, runs, jobs

    async def owner(self, actor: Actor, user_id: str = "") -> str:
        """Return whose work it was: the actor's, or somebody's whom a system admin names.

        Raises:
            Forbidden: `role.missing`.
            NotFound: `user.unknown`.
        """
        if not user_id or user_id == actor.user_id:
            return actor.user_id
        require_admin(actor)
        return (await self._accounts.named(user_id)).user_id

    async def start(self, actor: Actor, owner: str, path: Path, *, log_format: str = "", name: str = "") -> str:
        """Start an import and return its id.

        Args:
            actor: who asked.
            owner: from `owner`.
            path: the log, or a tar archive of logs; the run removes it.
            log_format: name of a format; empty looks at each file.
            name: of the file, as it was where it came from.

        Raises:
            Invalid: `import.unknown_format`.
        """
        require(actor, Scope.CHAT)
        ref = VolumeRef.user(owner)
        access.require(actor.principal_for(ref), ref, write=True)
        permit(actor, Verb.WRITE_TRACES, ref)
        if log_format:
            await asyncio.to_thread(_check_format, log_format)
        request = {"path": str(path), "user": owner, "format": log_format, "name": name}
        run_id = await self._runs.create(IMPORT, actor, request)
        await self._jobs.submit(IMPORT, run_id)
        return run_id


def _check_format(name: str) -> None:
    from llmos_lite.core.traces.importers import importers  # noqa: PLC0415 - loads every importer there is

    known = importers()
    if name not in known:
        there = ", ".join(sorted(known))
        raise Invalid("import.unknown_format", f"There is no format {name[:64]!r}.", hint=f"There are: {there}.")
