"""`python -m llmos_lite.worker KIND RUN_ID`: one piece of long work, in a process of its own beside the server.

It opens the volumes and the rows of its parent's data folder, not the journal, and takes its settings from the
environment that the parent gave. It is nice, and ends when its standard input does: its parent is gone then.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Mapping, Sequence

from llmos_lite.bootstrap import open_services
from llmos_lite.core.work import perform
from llmos_lite.errors import LlmosError
from llmos_lite.settings import Settings

NICENESS = 10
ORPHANED = 75


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Do the work; return the code to exit with: 0 when the run's row says what came of it.

    Args:
        arguments: kind and run id.
        environment: holds the settings.
    """
    if len(arguments) != 2:  # noqa: PLR2004 - kind and id
        print("usage: python -m llmos_lite.worker KIND RUN_ID", file=sys.stderr)  # noqa: T201 - a command speaks
        return 2
    kind, run_id = arguments
    try:
        asyncio.run(_work(Settings.parse(environment), kind, run_id))
    except LlmosError as error:
        print(f"{error.message} {error.hint}".strip(), file=sys.stderr)  # noqa: T201 - the parent keeps the end of it
        return error.exit_code
    return 0


async def _work(settings: Settings, kind: str, run_id: str) -> None:
    async with open_services(settings, serve=False, lock=False) as services:
        await perform(services, kind, run_id)


def watch_parent() -> None:
    """End this process when its standard input ends: nobody waits for the work any more."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(ORPHANED)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


if __name__ == "__main__":
    os.nice(NICENESS)
    watch_parent()
    sys.exit(main(sys.argv[1:], os.environ))
