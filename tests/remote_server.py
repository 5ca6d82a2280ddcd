"""Other people's Git servers: stock `git http-backend` on a free port, and servers that mean harm."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BARE = ("-c", "init.defaultBranch=main", "init", "-q", "--bare")


def git(folder: Path, *words: str, put: str | bytes = "") -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    ours = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    who = {f"GIT_{role}_{part}": "x@example.org" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", str(folder), *words],
        input=put.encode() if isinstance(put, str) else put,
        env=env | ours | who,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout.decode("utf-8", "replace").strip()


def blob(repository: Path, data: bytes) -> str:
    return git(repository, "hash-object", "-w", "--stdin", put=data)


def has(repository: Path, oid: str) -> bool:
    """Tell whether an object is there."""
    said = git(repository, "cat-file", "--batch-check", put=f"{oid}\n")
    return not said.endswith("missing")


def bare(folder: Path) -> Path:
    folder.mkdir(parents=True)
    git(folder, *BARE)
    git(folder, "config", "http.receivepack", "true")
    return folder


def commit(repository: Path, files: dict[str, str | None], message: str = "Theirs", branch: str = "main") -> str:
    """Commit onto a branch of a bare repository as somebody else does, and return the commit."""
    index = {"GIT_INDEX_FILE": str(repository / "index-of-a-test")}
    os.environ |= index
    try:
        head = git(repository, "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")
        git(repository, "read-tree", *([head] if head else ["--empty"]))
        for path, text in files.items():
            mode, oid = ("100644", blob(repository, text.encode())) if text is not None else ("0", "0" * 40)
            git(repository, "update-index", "--index-info", put=f"{mode} {oid}\t{path}\n")
        tree = git(repository, "write-tree")
        made = git(repository, "commit-tree", tree, *(["-p", head] if head else []), "-m", message)
        git(repository, "update-ref", f"refs/heads/{branch}", made)
    finally:
        os.environ.pop("GIT_INDEX_FILE")
    return made


@dataclass
class GitHost:
    """A server of bare repositories in a folder.

    Attributes:
        password: asked for when it is set.
        hang: requests whose path holds this get no answer until the end.
        moved: requests are sent to this address.
        body: served in place of anything else.
    """

    folder: Path
    port: int = 0
    password: str = ""
    hang: str = ""
    moved: str = ""
    body: bytes = b""
    asked: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    hanging: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    watch: str = ""

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    host: GitHost

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        if self.headers.get("transfer-encoding") == "chunked":
            pieces = []
            while size := int(self.rfile.readline(), 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            self._answer(b"".join(pieces))
        else:
            self._answer(self.rfile.read(int(self.headers.get("content-length", 0))))

    def _answer(self, body: bytes) -> None:
        host = self.host
        host.asked.append(self.path)
        if host.watch:
            host.seen += _processes(host.watch)
        if host.hang and host.hang in self.path:
            host.hanging.set()
            host.ended.wait(60)
            self.close_connection = True
            return
        if host.moved:
            self._send(302, {"Location": host.moved + self.path}, b"")
        elif host.password and not self._known():
            self._send(401, {"WWW-Authenticate": 'Basic realm="git"'}, b"")
        elif host.body:
            self._send(200, {"Content-Type": "application/x-git-upload-pack-advertisement"}, host.body)
        else:
            self._backend(body)

    def _known(self) -> bool:
        said = base64.b64decode(self.headers.get("authorization", "").removeprefix("Basic ") or "").decode()
        return said.partition(":")[2] == self.host.password

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _backend(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.host.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": self.headers.get("git-protocol", ""),
            "REMOTE_USER": "somebody",
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=False)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        self._send(int(headers.pop("Status", "200 OK").split()[0]), headers, answer)


def _processes(text: str) -> list[str]:
    """Return which files of the system's processes hold a text: command lines, environments."""
    found = []
    for name in ("cmdline", "environ"):
        for path in Path("/proc").glob(f"[0-9]*/{name}"):
            try:
                if text.encode() in path.read_bytes():
                    found.append(str(path))
            except OSError:
                continue
    return found


@contextmanager
def git_host(folder: Path) -> Iterator[GitHost]:
    """Serve the bare repositories of a folder until the block ends."""
    host = GitHost(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"host": host}))
    server.daemon_threads = True
    host.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield host
    finally:
        host.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
