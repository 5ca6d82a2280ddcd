"""Stock git as a server: `upload-pack` and `receive-pack` of one repository, in a process of their own.

The child knows nothing of this machine: its environment is made here, it reads no configuration but the repository's
own, and what there could run a program (hooks, a file system monitor, a remote that is asked for missing objects) is
overruled from the command line's scope, which wins.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from llmos_lite.errors import Unavailable

Service: TypeAlias = Literal["git-upload-pack", "git-receive-pack"]

PIECE = 64 << 10
"""Bytes that are read at once; no more than a few of these are in memory for a transfer."""
_SAID = 8 << 10
"""Bytes of the child's complaints that are kept, the last ones."""
_GRACE = 5.0
"""Seconds that a push has to end by itself when its client is gone. At the end of its input git removes the quarantine;
when it is killed it does not."""
_NICE = 5
"""How far a transfer stands back behind a chat."""
_LARGE_BLOB = 4 << 20
"""Bytes: git streams a larger file instead of holding it in memory; a volume takes none that large."""

_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "HOME": os.devnull,
    "LC_ALL": "C",
}
_CONFIG = (
    ("safe.directory", "*"),
    ("core.hooksPath", os.devnull),
    ("core.fsmonitor", "false"),
    ("core.alternateRefsCommand", "true"),
    ("core.bigFileThreshold", str(_LARGE_BLOB)),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("uploadpack.allowFilter", "true"),
)
_RECEIVING = (
    ("receive.unpackLimit", "1"),  # always one pack, which git syncs; loose objects it would not
    ("receive.fsckObjects", "true"),
    ("receive.autogc", "false"),
    ("receive.updateServerInfo", "false"),
    ("receive.denyCurrentBranch", "ignore"),
    ("receive.shallowUpdate", "false"),
    ("receive.advertisePushOptions", "true"),
    ("receive.procReceiveRefs", "refs"),  # the server moves every ref itself, under the repository lock
)


@dataclass(frozen=True, slots=True)
class Serving:
    """What is served.

    Args:
        gitdir: the repository.
        service: which half of the protocol.
        advertise: only list the refs.
        protocol: the version that the client speaks, as `version=2`; empty for the oldest.
        shown: prefixes of the refs that the client may see.
        hooks: folder of the hooks of a push; see `git_hooks`.
        max_pack: bytes that a push may bring.
        pipes: file descriptors that the hooks speak through, by the name of their variable.
    """

    gitdir: Path
    service: Service
    advertise: bool = False
    protocol: str = ""
    shown: Sequence[str] = ("refs/heads",)
    hooks: Path | None = None
    max_pack: int = 0
    pipes: dict[str, int] = field(default_factory=dict)

    def command(self) -> list[str]:
        """Return the command; the repository's path is never looked up anywhere else (`--strict`)."""
        strict = ["--strict"] if self.service == "git-upload-pack" else []
        once = ["--stateless-rpc", *(["--advertise-refs"] if self.advertise else [])]
        return ["git", self.service.removeprefix("git-"), *strict, *once, str(self.gitdir)]

    def environment(self) -> dict[str, str]:
        """Return all that the child gets to know."""
        hidden = [("transfer.hideRefs", "refs"), *(("transfer.hideRefs", f"!{prefix}") for prefix in self.shown)]
        config = [*_CONFIG, *hidden, *(self._receiving() if self.service == "git-receive-pack" else ())]
        env = {"PATH": os.environ.get("PATH", os.defpath), "GIT_CONFIG_COUNT": str(len(config)), **_ENVIRONMENT}
        for number, (key, value) in enumerate(config):
            env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        if self.protocol:
            env["GIT_PROTOCOL"] = self.protocol
        return env | {name: str(handle) for name, handle in self.pipes.items()}

    def _receiving(self) -> list[tuple[str, str]]:
        hooks = [("core.hooksPath", str(self.hooks))] if self.hooks else []
        return [*_RECEIVING, *hooks, ("receive.maxInputSize", str(self.max_pack))]


class GitProcess:
    """A running child: fed with a request, read for its answer."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._said = b""
        self._listening = asyncio.create_task(self._listen())

    @property
    def pid(self) -> int:
        """Return the id of the process, and of its group."""
        return self._process.pid

    async def feed(self, data: bytes) -> bool:
        """Hand a piece of the request on, when there is room for it; False when nobody listens any more."""
        stream = self._process.stdin
        assert stream is not None  # noqa: S101 - it is a pipe
        try:
            stream.write(data)
            await stream.drain()
        except (BrokenPipeError, ConnectionResetError, RuntimeError):
            return False
        return not stream.is_closing()

    def finish(self) -> None:
        """Say that the request is whole."""
        assert self._process.stdin is not None  # noqa: S101 - as above
        with suppress(OSError, RuntimeError):
            self._process.stdin.close()

    async def read(self) -> bytes:
        """Return the next piece of the answer, nothing at its end."""
        assert self._process.stdout is not None  # noqa: S101 - as above
        return await self._process.stdout.read(PIECE)

    async def failed(self) -> str:
        """Wait for the end; return what went wrong, nothing when all went well."""
        code = await self._process.wait()
        await self._listening
        said = self._said.decode("utf-8", "replace").strip()
        return (said or f"git ended with {code}") if code else ""

    async def stop(self, patience: float) -> None:
        """End the child and everything it started.

        Args:
            patience: seconds that it has to end by itself, once its request is cut short.
        """
        self.finish()
        rest = asyncio.create_task(self._read_rest())
        if patience and self._process.returncode is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._process.wait()), patience)
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        await asyncio.gather(rest, self._listening)

    async def _read_rest(self) -> None:
        while await self.read():
            pass

    async def _listen(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - as above
        while piece := await self._process.stderr.read(_SAID):
            self._said = (self._said + piece)[-_SAID:]


@asynccontextmanager
async def running(serving: Serving) -> AsyncIterator[GitProcess]:
    """Run git until the block ends, however it ends.

    Raises:
        Unavailable: `git.missing`, when there is no git on this machine.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *serving.command(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=serving.environment(),
            cwd="/",
            limit=PIECE,
            start_new_session=True,
            pass_fds=tuple(serving.pipes.values()),
        )
    except FileNotFoundError as error:
        raise Unavailable(
            "git.missing", "There is no git on this machine.", hint="Install git 2.29 or newer."
        ) from error
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
    child = GitProcess(process)
    try:
        yield child
    finally:
        patience = _GRACE if serving.service == "git-receive-pack" else 0.0
        await asyncio.shield(asyncio.create_task(child.stop(patience)))
