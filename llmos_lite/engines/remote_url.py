"""Addresses of other people's repositories: the few forms that are taken, read once and checked to the letter.

What git gets to see is what was checked here; nothing in it is left to be read in another way by git, curl or ssh.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from llmos_lite.errors import Invalid

LONGEST, LAST_PORT = 1000, 65_535
PORTS = {"https": 443, "http": 80, "ssh": 22, "file": 0}
_USER = r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9._-]*)@)?"
_HOST = r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
_PATH = r"[A-Za-z0-9._~%+@=,-]+(?:/[A-Za-z0-9._~%+@=,-]+)*/?"
_WEB = re.compile(rf"(?P<scheme>https?)://{_HOST}(?::(?P<port>\d{{1,5}}))?/(?P<path>{_PATH})")
_SSH = re.compile(rf"(?P<scheme>ssh)://{_USER}{_HOST}(?::(?P<port>\d{{1,5}}))?/(?P<path>{_PATH})")
_SCP = re.compile(rf"{_USER}{_HOST}:(?P<path>(?!-)/?{_PATH})")
_FILE = re.compile(r"(?P<scheme>file)://(?P<path>/[^\x00-\x1f\x7f]+)")
_SECRET = re.compile(r"https?://[^/@]*@", re.IGNORECASE)
_HINT = "As in https://git.example.org/team/skills.git, ssh://git@host/path or git@host:path."


@dataclass(frozen=True, slots=True)
class RemoteUrl:
    """The address of a repository.

    Args:
        text: as git gets it.
        scheme: `https`, `http`, `ssh` or `file`.
        host: without brackets; empty for a file.
        port: of the service; 0 for a file.
        path: in the file system, for a file.
        user: of SSH.
    """

    text: str
    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""
    user: str = ""

    @classmethod
    def parse(cls, text: str, *, plain: bool = False, folder: str = "") -> Self:
        """Read an address.

        Args:
            text: what somebody wrote.
            plain: whether `http://` is taken, where whoever listens reads along.
            folder: where repositories of `file://` may lie; empty takes none.

        Raises:
            Invalid: `remote.invalid`, `remote.secret_in_url`, `remote.unencrypted`, `remote.file`.
        """
        if _SECRET.match(text):
            raise Invalid(
                "remote.secret_in_url",
                "The address holds a user name or a password.",
                hint="Leave them out, and give them as the remote's credential, which is kept sealed.",
            )
        found = next((match for form in (_WEB, _SSH, _FILE, _SCP) if (match := form.fullmatch(text))), None)
        if found is None or len(text) > LONGEST:
            raise Invalid("remote.invalid", f"{text[:200]!r} is no address of a Git repository.", hint=_HINT)
        said = found.groupdict()
        url = cls(
            text=text,
            scheme=said.get("scheme") or "ssh",
            host=(said.get("host") or "").strip("[]").lower(),
            port=int(said.get("port") or PORTS[said.get("scheme") or "ssh"]),
            path=said["path"],
            user=said.get("user") or "",
        )
        url._check(plain=plain, folder=folder)
        return url

    @property
    def origin(self) -> str:
        """Return whom the address belongs to: a credential is for this alone."""
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def repository(self) -> str:
        """Return which repository it is, however its address is written."""
        return f"{self.origin}/{self.path.strip('/').removesuffix('.git')}"

    def _check(self, *, plain: bool, folder: str) -> None:
        if self.port > LAST_PORT or (self.host and not self.port):
            raise Invalid("remote.invalid", f"{self.port} is no port.", hint=_HINT)
        if self.scheme == "http" and not plain:
            raise Invalid(
                "remote.unencrypted",
                "http:// sends skills and credentials in the clear.",
                hint="Use https://; an operator may allow http:// with LLMOS_ALLOW_PRIVATE_URLS=on.",
            )
        if self.scheme == "file" and not _is_in(self.path, folder):
            raise Invalid(
                "remote.file",
                "Folders of the server are no remotes, but those that an operator named.",
                hint=f"Use a path below {folder}." if folder else "LLMOS_REMOTE_FOLDER names one.",
            )


def _is_in(path: str, folder: str) -> bool:
    """Tell whether a path lies in a folder, wherever links lead."""
    if not folder:
        return False
    place, root = Path(path).resolve(), Path(folder).resolve()
    return place != root and place.is_relative_to(root)
