"""From a row to somebody to speak to: its address is looked at again each time, and its secret opened only then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmos_lite.core.traces.trace import make_ulid, now_ms
from llmos_lite.engines.addresses import resolve
from llmos_lite.engines.git_children import Children
from llmos_lite.engines.git_peer import Credential, Peer
from llmos_lite.engines.remote_url import RemoteUrl
from llmos_lite.engines.sealing import Seals
from llmos_lite.errors import Invalid, Unavailable
from llmos_lite.records.remotes import RemoteRecord

TOKEN, SSH, VARIABLE = "token", "ssh", "variable"
PREFIX = "LLMOS_REMOTE_"
"""What the name of a variable begins with that a remote may read; others hold secrets of the server."""
_SET = (
    *("volume", "name", "url", "branch", "traces", "direction", "timing", "cron", "trust", "active", "next_try"),
    *("credential", "username", "public_key", "created", "created_by"),
)
"""What people say of a remote; all else is found out."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a remote may be.

    Args:
        data: the data folder; a `file://` remote lies nowhere in it.
        private: whether addresses that are not public, and `http://`, are taken.
        folder: where `file://` remotes may lie; empty takes none.
    """

    data: Path
    private: bool = False
    folder: str = ""


class Dialer:
    """Makes peers.

    Args:
        reach: where a remote may be.
        seals: opens secrets.
        children: runs git.
        variable: returns a variable of the environment; empty when it is not set.
    """

    def __init__(self, reach: Reach, seals: Seals, children: Children, variable: Callable[[str], str]) -> None:
        self.reach, self.seals, self.children = reach, seals, children
        self._variable = variable

    def url(self, text: str) -> RemoteUrl:
        """Read an address.

        Raises:
            Invalid: `remote.invalid`, `remote.secret_in_url`, `remote.unencrypted`, `remote.file`.
        """
        reach = self.reach
        url = RemoteUrl.parse(text, plain=reach.private, folder=reach.folder)
        if url.scheme == "file" and Path(url.path).resolve().is_relative_to(reach.data.resolve()):
            raise Invalid("remote.file", "The data folder of this server is no remote.")
        return url

    def addresses(self, url: RemoteUrl) -> tuple[str, ...]:
        """Return where a host is; nothing for a file.

        Raises:
            Invalid: `address.private`.
            UpstreamFailed: `address.unknown`.
        """
        return resolve(url.host, url.port, private=self.reach.private) if url.host else ()

    def peer(self, row: RemoteRecord) -> Peer:
        """Return whom a row means; blocks while its name is looked up.

        Raises:
            Invalid: it is out of reach by now.
            UpstreamFailed: `address.unknown`.
            Unavailable: `seal.broken`, `remote.variable`.
        """
        url = self.url(row.url)
        credential = self.credential(row, url)
        return Peer(url, self.addresses(url), credential, self.reach.data / "known_hosts", self.children)

    def seal(self, remote_id: str, url: RemoteUrl, secret: str) -> str:
        """Return a secret as it is kept: for one remote, and for one host."""
        return self.seals.seal(secret, f"{remote_id} {url.origin}") if secret else ""

    def afresh(self, row: RemoteRecord) -> RemoteRecord:
        """Return a remote as a new one, of which nothing is known yet but how to open it."""
        new_id, url = make_ulid(now_ms()), self.url(row.url)
        secret = self.seals.open(row.secret, f"{row.remote_id} {url.origin}") if row.secret else ""
        return RemoteRecord(
            **{key: getattr(row, key) for key in _SET},
            remote_id=new_id,
            secret=self.seal(new_id, url, secret),
        )

    def credential(self, row: RemoteRecord, url: RemoteUrl) -> Credential:
        """Return what opens a remote.

        Raises:
            Unavailable: `seal.broken`, `remote.variable`.
        """
        if not row.credential:
            return Credential()
        secret = self.seals.open(row.secret, f"{row.remote_id} {url.origin}")
        if row.credential == VARIABLE:
            secret = self._read(secret)
        if url.scheme == "ssh":
            return Credential(key=secret)
        return Credential(username=row.username, password=secret)

    def _read(self, name: str) -> str:
        value = self._variable(name).strip() if name.startswith(PREFIX) else ""
        if not value:
            raise Unavailable("remote.variable", f"The variable {name} is not set where the server runs.")
        return value
