"""Stock git as a server: `upload-pack` and `receive-pack` of one repository, in a process of their own.

The child knows nothing of this machine: its environment is made here, it reads no configuration but the repository's
own, and what there could run a program (hooks, a file system monitor, a remote that is asked for missing objects) is
overruled from the command line's scope, which wins.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
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
_NICE = 2
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
    """A running child: fed with a request, read for its answer. It is gone when its answer ends.

    Started by `subprocess`, which uses vfork: 2 ms, where uvloop copies the page tables of the whole server in 18. It
    speaks through sockets, since uvloop closes the number of a pipe twice, and a thread may have it by then.
    """

    def __init__(self, process: subprocess.Popen[bytes], streams: Sequence[_Stream]) -> None:
        self._process, self._streams = process, streams
        (_, self._request), (self._answer, _), (self._complaints, _) = streams
        self._said = b""
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, serving: Serving) -> GitProcess:
        """Start git.

        Raises:
            Unavailable: `git.missing`, when there is no git on this machine.
        """
        pairs = [socket.socketpair() for _ in range(3)]
        try:
            process = await asyncio.to_thread(_start, serving, [theirs.fileno() for _, theirs in pairs])
        except OSError as error:
            for ours, _ in pairs:
                ours.close()
            if isinstance(error, FileNotFoundError):
                raise _no_git() from error
            raise
        finally:
            for _, theirs in pairs:
                theirs.close()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
        return cls(process, [await asyncio.open_unix_connection(sock=ours, limit=PIECE) for ours, _ in pairs])

    async def feed(self, data: bytes) -> bool:
        """Hand a piece of the request on, when there is room for it; False when nobody listens any more."""
        try:
            self._request.write(data)
            await self._request.drain()
        except (BrokenPipeError, ConnectionResetError):
            return False
        return not self._request.is_closing()

    def finish(self) -> None:
        """Say that the request is whole."""
        with suppress(OSError, RuntimeError):
            self._request.write_eof()

    async def read(self) -> bytes:
        """Return the next piece of the answer, nothing at its end."""
        return await self._answer.read(PIECE)

    async def failed(self) -> str:
        """Wait for the end; return what went wrong, nothing when all went well."""
        await self._listening
        code = await asyncio.to_thread(self._process.wait)
        said = self._said.decode("utf-8", "replace").strip()
        return (said or f"git ended with {code}") if code else ""

    async def stop(self, patience: float) -> None:
        """End the child and everything it started.

        Args:
            patience: seconds that it has to end by itself, once its request is cut short.
        """
        self.finish()
        rest = asyncio.create_task(self._read_rest())
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(rest), patience)
        if self._process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        await asyncio.to_thread(self._process.wait)
        await asyncio.gather(rest, self._listening)
        for _, stream in self._streams:
            stream.close()

    async def _read_rest(self) -> None:
        while await self.read():
            pass

    async def _listen(self) -> None:
        while piece := await self._complaints.read(_SAID):
            self._said = (self._said + piece)[-_SAID:]


_Stream: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def _start(serving: Serving, handles: Sequence[int]) -> subprocess.Popen[bytes]:
    request, answer, complaints = handles
    return subprocess.Popen(  # noqa: S603 - no shell; the path is ours and absolute
        serving.command(),
        stdin=request,
        stdout=answer,
        stderr=complaints,
        env=serving.environment(),
        cwd="/",
        start_new_session=True,
        pass_fds=tuple(serving.pipes.values()),
    )


def _no_git() -> Unavailable:
    return Unavailable("git.missing", "There is no git on this machine.", hint="Install git 2.31 or newer.")


@asynccontextmanager
async def running(serving: Serving) -> AsyncIterator[GitProcess]:
    """Run git until the block ends, however it ends.

    Raises:
        Unavailable: `git.missing`, when there is no git on this machine.
    """
    child = await GitProcess.start(serving)
    try:
        yield child
    finally:
        patience = _GRACE if serving.service == "git-receive-pack" else 0.0
        await asyncio.shield(asyncio.create_task(child.stop(patience)))
