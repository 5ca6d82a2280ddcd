"""Another repository, spoken to by stock git with a closed environment.

The child knows nothing of this machine, and reads no configuration but what stands here; it works in a repository of
its own that borrows the volume's objects, so nothing in a volume's `.git/config` is obeyed either. One transport is
allowed, to the addresses that were looked at; redirects are not followed. A secret comes through a pipe (HTTP), or a
file without a name (SSH): no command line, environment or disk ever holds it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from llmos_lite.engines.git_children import Children, Ended
from llmos_lite.engines.git_pack import sync_folder
from llmos_lite.engines.git_refs import OID, check_branch
from llmos_lite.engines.remote_url import RemoteUrl
from llmos_lite.errors import Invalid, TooLarge, UpstreamFailed, storage_error

LOOK, TRANSFER = 60.0, 900.0
"""Seconds for a list of refs, and for a transfer."""
THEIRS = "refs/llmos/theirs"
_MEMORY = 4 << 20
"""KiB of memory that a child may map: the list of refs of a hostile server has no end."""
_LIMITED = 'ulimit -v "$1" 2>/dev/null; ulimit -f "$2" || exit 1; shift 2; exec "$@"'
_BLOCK = 512
"""Bytes; the unit of `ulimit -f` in every sh."""
_SAID = 300
_HELPER = '!f() { test "$1" = get && cat "/dev/fd/$LLMOS_SECRET"; }; f'
_PASSED = ("GIT_SSL_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""What the operator says of certificates."""
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "false",
    "GIT_OPTIONAL_LOCKS": "0",
    "HOME": os.devnull,
    "LC_ALL": "C",
}
_CONFIG = (
    ("safe.directory", "*"),
    ("core.hooksPath", os.devnull),
    ("core.fsmonitor", "false"),
    ("core.alternateRefsCommand", "true"),
    ("core.bigFileThreshold", str(4 << 20)),
    ("core.fsync", "all"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("fetch.unpackLimit", "1"),
    ("fetch.fsckObjects", "true"),
    ("pack.threads", "1"),
    ("push.gpgSign", "false"),
    ("credential.helper", ""),
    ("http.followRedirects", "false"),
    ("http.proxy", ""),
    ("http.sslVerify", "true"),
    ("http.lowSpeedLimit", "100"),
    ("http.lowSpeedTime", "30"),
)
_SSH = {
    "BatchMode": "yes",
    "IdentitiesOnly": "yes",
    "IdentityAgent": "none",
    "PreferredAuthentications": "publickey",
    "StrictHostKeyChecking": "accept-new",
    "GlobalKnownHostsFile": os.devnull,
    "UpdateHostKeys": "no",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    "PermitLocalCommand": "no",
    "ProxyCommand": "none",
    "ConnectTimeout": "20",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "2",
    "LogLevel": "ERROR",
}

_MEANS = (
    (
        re.compile(r"askpass|could not read (?:Username|Password)|Authentication failed|returned error: 40[13]"),
        "is private, or is not there: it asks who is there, and what was sent did not open it.",
        "Look at the address. A remote of this volume with a credential opens it: llmos remotes add.",
    ),
    (
        re.compile(r"Repository not found|repository '.*' not found|not appear to be a git repository|error: 404"),
        "is no Git repository, or none that shows itself.",
        "Look at the address; a private one needs a credential.",
    ),
    (
        re.compile(r"couldn't find remote ref"),
        "has no such branch, tag or commit.",
        "Look at what stands behind the @.",
    ),
    (
        re.compile(r"Permission denied \(publickey|Host key verification failed"),
        "does not let in who has no SSH key that it knows.",
        "A remote of this volume with an SSH key opens it: llmos remotes add.",
    ),
)
"""What git says, as a sentence: it speaks to somebody with a terminal."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What opens the other repository; `repr` does not show it.

    Args:
        username: for HTTP.
        password: for HTTP: a token, as a rule.
        key: a private key for SSH.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Peer:
    """A repository elsewhere.

    Args:
        url: its address.
        addresses: where it is; git connects to no other.
        credential: opens it.
        known_hosts: file of the host keys that SSH has seen; the first one of a host is believed.
        children: runs git.
    """

    url: RemoteUrl
    addresses: Sequence[str]
    credential: Credential
    known_hosts: Path
    children: Children

    def heads(self, *, patience: float = LOOK) -> dict[str, str]:
        """Return the branches there, with their commits.

        Raises:
            UpstreamFailed: `remote.failed`, with what git said.
            UpstreamTimeout: `remote.timeout`.
        """
        done = self._git(["ls-remote", "--refs", "--", self.url.text, "refs/heads/*"], patience)
        lines = (line.partition("\t") for line in done.out.splitlines())
        found = {ref.removeprefix("refs/heads/"): oid for oid, _, ref in lines if OID.fullmatch(oid)}
        return {name: oid for name, oid in found.items() if _is_branch(name)}

    def fetch(self, aside: Aside, branch: str, *, most: int, patience: float = TRANSFER) -> str:
        """Bring a branch of theirs into a repository aside, and return its commit.

        Args:
            aside: takes the objects.
            branch: there.
            most: bytes that it may bring.
            patience: seconds that it has.

        Raises:
            TooLarge: `remote.too_large`.
            UpstreamFailed: `remote.failed`, as for objects that are none.
            UpstreamTimeout: `remote.timeout`.
        """
        quiet = ["-q", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance"]
        words = ["--git-dir", str(aside.gitdir), "fetch", *quiet]
        spec = f"+refs/heads/{check_branch(branch)}:{THEIRS}"
        try:
            self._git([*words, "--", self.url.text, spec], patience, most=most)
        except UpstreamFailed:
            if aside.largest() < most:
                raise
            raise TooLarge("remote.too_large", f"The other side has more than {most:,} bytes that are new.") from None
        return aside.theirs()

    def snapshot(self, gitdir: Path, ref: str, *, most: int, patience: float = TRANSFER) -> None:
        """Bring one commit without its history into an empty bare repository.

        Args:
            gitdir: the repository.
            ref: as git names it; the caller has checked it.
            most: bytes that it may bring.
            patience: seconds that it has.

        Raises:
            TooLarge: `remote.too_large`.
            UpstreamFailed: `remote.failed`.
            UpstreamTimeout: `remote.timeout`.
        """
        quiet = ["-q", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance"]
        words = ["--git-dir", str(gitdir), "fetch", "--depth=1", *quiet, "--", self.url.text, f"+{ref}:{THEIRS}"]
        try:
            self._git(words, patience, most=most)
        except UpstreamFailed:
            found = (path.stat().st_size for path in gitdir.rglob("*") if path.is_file())
            if max(found, default=0) < most:
                raise
            raise TooLarge("remote.too_large", f"The other side has more than {most:,} bytes.") from None

    def push(
        self,
        aside: Aside,
        specs: Mapping[str, str],
        leases: Mapping[str, str] | None = None,
        *,
        patience: float = TRANSFER,
    ) -> dict[str, str]:
        """Send branches, each forward only, but for those with a lease.

        Args:
            aside: has the objects.
            specs: the commit for each branch there; an empty one deletes it.
            leases: branches that may lose commits, and where they have to be for that.
            patience: seconds that it has.

        Returns:
            Why a branch was not moved, for those that were not.

        Raises:
            UpstreamFailed: `remote.failed`, when nothing was.
            UpstreamTimeout: `remote.timeout`.
        """
        given = [f"--force-with-lease=refs/heads/{check_branch(name)}:{at}" for name, at in (leases or {}).items()]
        moves = [f"{oid}:refs/heads/{check_branch(name)}" for name, oid in specs.items()]
        words = ["--git-dir", str(aside.gitdir), "push", "--porcelain", "--no-verify", "--no-follow-tags", *given]
        done = self._git([*words, "--", self.url.text, *moves], patience, refused=True)
        refused = dict(_refused(done.out))
        if done.code and not refused:
            raise self._failed(done)
        return {name: self._clean(why) for name, why in refused.items()}

    # How git is run

    def _git(self, words: Sequence[str], patience: float, *, most: int = 0, refused: bool = False) -> Ended:
        with ExitStack() as stack:
            env, handles = self.environment(stack)
            limits = [str(_MEMORY), str(most // _BLOCK + 1) if most else "unlimited"]
            command = ["sh", "-c", _LIMITED, "sh", *limits, "git", *words]
            done = self.children.run(command, env, patience, handles)
        if done.code and not refused:
            raise self._failed(done)
        return done

    def environment(self, stack: ExitStack) -> tuple[dict[str, str], list[int]]:
        """Return all that the child gets to know, and the files that it inherits, which the stack closes."""
        passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
        env = {"PATH": os.environ.get("PATH", os.defpath), **_ENVIRONMENT, **passed}
        env["GIT_ALLOW_PROTOCOL"] = self.url.scheme
        config, handles = [*_CONFIG, *self._pinned()], list[int]()
        if self.url.scheme == "ssh":
            env["GIT_SSH_COMMAND"], env["GIT_SSH_VARIANT"] = self._ssh(stack), "ssh"
        elif self.credential.password:
            handles.append(_pipe(stack, f"username={self.credential.username}\npassword={self.credential.password}\n"))
            env["LLMOS_SECRET"] = str(handles[0])
            config.append(("credential.helper", _HELPER))
        env["GIT_CONFIG_COUNT"] = str(len(config))
        for number, (key, value) in enumerate(config):
            env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return env, handles

    def _pinned(self) -> list[tuple[str, str]]:
        """Return where curl finds the host; git before 2.37 does not know this and asks for itself."""
        if not self.url.scheme.startswith("http") or not self.addresses:
            return []
        numbers = ",".join(f"[{one}]" if ":" in one else one for one in self.addresses)
        return [("http.curloptResolve", f"{self.url.host}:{self.url.port}:{numbers}")]

    def _ssh(self, stack: ExitStack) -> str:
        alias = self.url.host if self.url.port == 22 else f"[{self.url.host}]:{self.url.port}"  # noqa: PLR2004 - ssh's own
        known = '"' + str(self.known_hosts).replace("%", "%%") + '"'
        options = _SSH | {"HostName": self.addresses[0], "HostKeyAlias": alias, "UserKnownHostsFile": known}
        options["IdentityFile"] = _nameless(stack, self.credential.key) if self.credential.key else "none"
        words = (word for name, value in options.items() for word in ("-o", f"{name}={value}"))
        return shlex.join(["ssh", "-F", "none", *words])

    # What git said

    def _failed(self, done: Ended) -> UpstreamFailed:
        said = self._clean(done.said) or f"git ended with {done.code}"
        for words, sentence, hint in _MEANS:
            if words.search(said):
                return UpstreamFailed("remote.failed", f"{self.url.text} {sentence}", hint=hint)
        return UpstreamFailed("remote.failed", f"{self.url.text}: {said}")

    def _clean(self, text: str) -> str:
        """Return what was said as one line, without secrets, that does nothing to a terminal."""
        for secret in (self.credential.password, self.credential.key):
            text = text.replace(secret, "***") if secret else text
        text = re.sub(r"//[^/@\s]+@", "//", text)
        return " ".join("".join(char if char.isprintable() else " " for char in text).split())[-_SAID:]


class Aside:
    """A bare repository beside the objects of another one, which it borrows: what is fetched is in quarantine there.

    It lies where git puts the quarantine of a push, so that what a kill leaves is swept as such.

    Args:
        gitdir: the repository whose objects are borrowed.
        tips: commits that are known, for the other side to build on.
    """

    def __init__(self, gitdir: Path, tips: Sequence[str] = ()) -> None:
        self._home = gitdir
        self.gitdir = gitdir / "objects" / f"incoming-remote-{os.urandom(6).hex()}"
        try:
            self._lay_out(tips)
        except OSError as error:
            self.close()
            raise storage_error(error, "make room for what a remote sends") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def objects(self) -> Path:
        """Return the folder of what was fetched."""
        return self.gitdir / "objects"

    def theirs(self) -> str:
        """Return the commit that was fetched."""
        return (self.gitdir / THEIRS).read_text().strip()

    def largest(self) -> int:
        """Return the bytes of the largest file that was fetched; one that ran into its bound is as large as that."""
        return max((path.stat().st_size for path in self.objects.rglob("*") if path.is_file()), default=0)

    def accept(self) -> None:
        """Move what was fetched into the repository, durably; the caller holds its lock.

        Raises:
            StorageFailed: some of it is not there, and nothing leads to what is.
        """
        source, target = self.objects / "pack", self._home / "objects" / "pack"
        try:
            for kind in ("pack", "rev", "idx"):  # the index last: it makes the pack visible
                for path in source.glob(f"pack-*.{kind}"):
                    path.rename(target / path.name)
            sync_folder(target)
        except OSError as error:
            raise storage_error(error, "store what a remote sent") from error

    def close(self) -> None:
        """Remove it, with what was not accepted."""
        shutil.rmtree(self.gitdir, ignore_errors=True)

    def _lay_out(self, tips: Sequence[str]) -> None:
        for folder in ("objects/info", "objects/pack", "refs/heads", "refs/llmos"):
            (self.gitdir / folder).mkdir(parents=True)
        (self.gitdir / "HEAD").write_text("ref: refs/heads/none\n")
        (self.gitdir / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = true\n")
        (self.objects / "info" / "alternates").write_text(f"{(self._home / 'objects').resolve()}\n")
        for number, tip in enumerate(tips):
            (self.gitdir / "refs" / "llmos" / f"ours-{number}").write_text(f"{tip}\n")


def _refused(text: str) -> Iterator[tuple[str, str]]:
    """Read the lines of `git push --porcelain` that say no: `!<tab>from:to<tab>summary (reason)`."""
    for line in text.splitlines():
        flag, _, rest = line.partition("\t")
        spec, _, summary = rest.partition("\t")
        if flag == "!":
            yield spec.rpartition(":")[2].removeprefix("refs/heads/"), summary or "refused"


def _is_branch(name: str) -> bool:
    try:
        check_branch(name)
    except Invalid:
        return False
    return True


def _pipe(stack: ExitStack, text: str) -> int:
    """Return a pipe that a text can be read from, once."""
    reading, writing = os.pipe()
    stack.callback(os.close, reading)
    try:
        os.write(writing, text.encode())  # a credential is shorter than a pipe is deep
    finally:
        os.close(writing)
    return reading


def _nameless(stack: ExitStack, text: str) -> str:
    """Return the path of a private file for ssh, which closes what it inherits: in memory, where the system can."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("llmos", os.MFD_CLOEXEC)
        stack.callback(os.close, handle)
        path = f"/proc/{os.getpid()}/fd/{handle}"
    else:
        handle, path = tempfile.mkstemp()
        stack.callback(os.close, handle)
        stack.callback(os.unlink, path)
    os.fchmod(handle, 0o600)
    os.write(handle, text.encode())
    return path
