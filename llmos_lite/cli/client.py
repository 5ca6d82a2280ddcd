"""The one seam of the terminal: every command speaks the HTTP API, to a server or to the app in this process.

connect(where, env) -> Client
    a server that `--url` or LLMOS_URL names, with `--key`, LLMOS_KEY or the sign-in of `llmos login`
    | the server that holds the data folder (its address is in <data>/lock, its key in <data>/admin.key)
    | the data folder itself, through the same app, in this process
    | without a folder, the server that was signed in to last
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol, TypeAlias
from urllib.parse import quote, urlencode

from llmos_lite import errors
from llmos_lite.engines.folder import Holder, held, holder
from llmos_lite.errors import Invalid, LlmosError, NotFound, StorageFailed, Unavailable, UpstreamFailed

Json: TypeAlias = "dict[str, object]"
Params: TypeAlias = Mapping[str, str | int | bool | None]
Body: TypeAlias = "bytes | Iterable[bytes]"

JSON = "application/json"
BLOCK = 1 << 16
BAD = 400
MOST_NAMES, SAME_NAME = 5000, 0.75
"""Names that one is compared with, and from which share of letters in common on it may be meant for another."""
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Where:
    """What the person said about where to work; empty parts are filled from the environment.

    Args:
        data: data folder (`--data`).
        url: address of a server (`--url`).
        key: credential for it (`--key`).
        user: whom to act as (`--user`).
    """

    data: str = ""
    url: str = ""
    key: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `path` begins with `/` and carries the query."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None


class Reply(Protocol):
    """What came back; `chunks` may be read once."""

    status: int
    headers: Mapping[str, str]

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes."""


class Transport(Protocol):
    """Carries requests to an app; `address` is the server's, or the path of the data folder."""

    address: str

    def send(self, request: Request) -> Reply:
        """Send one request and return once its status is known.

        Raises:
            Unavailable: nobody answers.
            UpstreamFailed: the connection broke.
        """

    def wait(self, seconds: float) -> None:
        """Let time pass while long work goes on."""

    def close(self) -> None:
        """Let go of everything; what was written is durable."""


class Client:
    """Speaks the API of llmos.

    Args:
        transport: carries the requests.
        key: credential, or what gives one that holds for a while.
        user: whom to act as; empty for whomever the key belongs to.

    Attributes:
        newcomer: whether nobody had that name before.
    """

    def __init__(self, transport: Transport, key: str | Callable[[], str] = "", user: str = "") -> None:
        self.transport, self.user, self.newcomer = transport, user, False
        self._key = key
        self._headers = {"x-llmos-user": user} if user else {}

    def send(
        self,
        method: str,
        path: str,
        params: Params | None = None,
        *,
        body: Body | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        refuse: bool = True,
        more: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request.

        Args:
            method: HTTP method.
            path: path as `url` makes it.
            params: query; empty and missing values are left out.
            body: bytes, or something that yields them.
            content_type: type of the body.
            accept: type of the answer.
            refuse: whether an answer of failure is raised, or returned as any other.
            more: further headers.

        Raises:
            LlmosError: what the server answered, as the error that it was there.
        """
        key = self._key if isinstance(self._key, str) else self._key()
        own = {"authorization": f"Bearer {key}"} if key else {}
        headers = {**own, **self._headers, **(more or {}), "accept": f"{accept}, application/problem+json"}
        if body is not None:
            headers["content-type"] = content_type
        given = {key: _text(value) for key, value in (params or {}).items() if value not in {None, "", False}}
        target = f"{path}?{urlencode(given, errors='surrogateescape')}" if given else path
        reply = self.transport.send(Request(method, target, headers, body))
        if refuse and reply.status >= BAD:
            raise problem(reply.status, b"".join(reply.chunks()))
        return reply

    def call(self, method: str, path: str, params: Params | None = None, *, json_body: object = None) -> Json:
        """Send JSON, if any, and return the JSON object that comes back ({} for none)."""
        body = json.dumps(json_body).encode() if json_body is not None else None
        return read_json(self.send(method, path, params, body=body))

    def get(self, path: str, params: Params | None = None) -> Json:
        """Return the JSON object at a path."""
        return self.call("GET", path, params)

    def post(self, path: str, json_body: object, params: Params | None = None) -> Json:
        """Post a JSON object and return the one that comes back."""
        return self.call("POST", path, params, json_body=json_body)

    def items(self, path: str, params: Params | None = None, *, limit: int = 0) -> Iterator[Json]:
        """Yield the items of a list, page by page; `limit` 0 for all of them."""
        given, count = dict(params or {}), 0
        while True:
            given["limit"] = min(limit - count, 200) if limit else 200
            page = self.get(path, given)
            found = page.get("items")
            for item in found if isinstance(found, list) else []:
                yield item
                count += 1
            cursor = page.get("next_cursor")
            if not isinstance(cursor, str) or not cursor or (limit and count >= limit):
                return
            given["cursor"] = cursor

    def check_user(self) -> None:
        """Look whether somebody has the name of whom to act as: it would make an account, and may be a slip.

        Only a system admin's key can tell; with another one the server decides.

        Raises:
            NotFound: `user.unknown`, for a name that is nearly somebody's.
            Unavailable: nobody answers.
        """
        itself = Client(self.transport, self._key)
        try:
            itself.get(url("users", self.user))
        except NotFound:
            names = [str(one.get("user_id")) for one in itself.items("/users", limit=MOST_NAMES)]
        except Unavailable:
            raise
        except LlmosError:
            return
        else:
            return
        near = _near(self.user, names)
        if near:
            said = f"There is no user {self.user!r}. Did you mean {' or '.join(near)}?"
            hint = f"`llmos users add {self.user}`, without --user and LLMOS_USER, adds somebody of this name."
            raise NotFound("user.unknown", said, hint=hint)
        self.newcomer = True

    def close(self) -> None:
        """Let go of the server or the folder."""
        self.transport.close()


def _near(name: str, names: Iterable[str]) -> list[str]:
    """Return names that somebody may have meant, the nearest first; `user-2` beside `user-1` is no slip."""
    plain = _DIGITS.sub("", name)
    return get_close_matches(name, [one for one in names if _DIGITS.sub("", one) != plain], 3, SAME_NAME)


def url(*parts: str) -> str:
    """Return a path from its parts, each of them quoted."""
    return "".join(f"/{quote(part, safe='', errors='surrogateescape')}" for part in parts)


def read_json(reply: Reply) -> Json:
    """Return the JSON object in a reply.

    Raises:
        UpstreamFailed: `server.garbled`, when it is something else.
    """
    text = b"".join(reply.chunks())
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UpstreamFailed("server.garbled", "What answered is no llmos server.", hint="Look at the address.")
    return found


def events(reply: Reply) -> Iterator[tuple[str, Json]]:
    """Yield the server-sent events of a reply: their names and their JSON data."""
    name, data, rest = "message", "", b""
    for chunk in reply.chunks():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            key, _, value = line.rstrip(b"\r").decode("utf-8", "replace").partition(":")
            if key == "event":
                name = value.strip()
            elif key == "data":
                data += value.removeprefix(" ")
            elif not key and data:
                yield name, _object(data)
                name, data = "message", ""


_STRANGER = "It does not speak as llmos does: look at its address (LLMOS_URL), and at a proxy before it."


def problem(status: int, body: bytes) -> LlmosError:
    """Return the error of ours that a reply stands for."""
    said = _object(body.decode("utf-8", "replace"))
    gateways = said.get("error")  # some of our routes speak OpenAI's API, errors too; our codes have a dot
    if isinstance(gateways, dict) and "." in str(gateways.get("code")):
        said = {"code": gateways["code"], "detail": gateways.get("message")}
    kind = getattr(errors, str(said.get("title", "")), None)
    if not (isinstance(kind, type) and issubclass(kind, LlmosError)):
        kind = next((item for item in _kinds(LlmosError) if item.status == status), _Unexplained)
    known = {"type", "title", "status", "code", "detail", "hint"}
    more = {key: value for key, value in said.items() if key not in known and _is_detail(value)}
    message = str(said.get("detail") or f"The server answered {status}.")
    hint = str(said.get("hint") or ("" if said.get("code") else _STRANGER))
    return kind(str(said.get("code") or "server.failed"), message, hint=hint, **more)  # type: ignore[arg-type]  # _is_detail looked


class _Unexplained(LlmosError):
    """The server failed and did not say how."""


def _kinds(kind: type[LlmosError]) -> Iterator[type[LlmosError]]:
    for item in kind.__subclasses__():
        yield item
        yield from _kinds(item)


def items_of(answer: Json, name: str = "items") -> list[Json]:
    """Return a list of objects in an answer; empty when there is none."""
    found = answer.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _is_detail(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float, list))


def _object(text: str) -> Json:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _text(value: str | int | bool | None) -> str:  # noqa: FBT001 - a query's value
    return str(value).lower() if isinstance(value, bool) else str(value)


@contextmanager
def connect(where: Where, env: Mapping[str, str]) -> Iterator[Client]:
    """Find the server or the folder to work on.

    What is said on the command line comes before the environment; there, LLMOS_URL comes before LLMOS_DATA.

    Raises:
        Invalid: `cli.where`, when both a server and a folder are named.
        NotFound: `user.unknown`; see `Client.check_user`.
        Unavailable: `data.locked`, when the folder is in use and its server cannot be used from here.
        NotFound: `data.missing`, when nothing was named and there is no `./data`.
    """
    if where.url and where.data:
        raise Invalid("cli.where", "Both a server and a data folder are named.", hint="Use --url or --data.")
    client = _connect(where, env)
    try:
        if client.user:
            client.check_user()
        yield client
    finally:
        client.close()


def _connect(where: Where, env: Mapping[str, str]) -> Client:
    user = where.user or env.get("LLMOS_USER", "")
    address = where.url or ("" if where.data else env.get("LLMOS_URL", ""))
    if address:
        return _signed_in(address, where.key or env.get("LLMOS_KEY", ""), user, env)
    named = where.data or env.get("LLMOS_DATA", "")
    data = Path(named or "data").absolute()
    by = holder(data)
    if by is not None:
        return _remote(_address(data, by), where.key or env.get("LLMOS_KEY", "") or _admin_key(data, by), user)
    if not named and not data.is_dir():
        from llmos_lite.cli.signed_in import Places  # noqa: PLC0415 - as below

        if address := Places(env).default():
            return _signed_in(address, where.key or env.get("LLMOS_KEY", ""), user, env)
        raise NotFound(
            "data.missing",
            "There is no data folder here, and no server was named.",
            hint="`llmos login URL` signs you in to a server; --data names a folder.",
        )
    from llmos_lite.cli.local import open_folder  # noqa: PLC0415 - loads the whole platform

    transport = open_folder(data, env)
    return Client(transport, _read_key(data), user)


def _signed_in(address: str, key: str, user: str, env: Mapping[str, str]) -> Client:
    """Return a client of a server with the key that was named, or else with this person's sign-in."""
    from llmos_lite.cli.signed_in import Places  # noqa: PLC0415 - it builds on this file

    client, places = _remote(address, key, user), Places(env)
    if key or not places.knows(address):
        return client
    return Client(client.transport, lambda: places.token(address, client.transport), user)


def _remote(address: str, key: str, user: str) -> Client:
    from llmos_lite.cli.remote import HttpTransport  # noqa: PLC0415 - not needed without a server

    return Client(HttpTransport(address), key, user)


def _address(data: Path, by: Holder) -> str:
    if not by.url:
        raise held(data, by)
    return by.url


def _admin_key(data: Path, by: Holder) -> str:
    try:
        return _read_key(data)
    except StorageFailed:
        raise held(data, by) from None


def _read_key(data: Path) -> str:
    try:
        return (data / "admin.key").read_text(encoding="utf-8").strip()
    except OSError as error:
        raise errors.storage_error(error, f"read {data / 'admin.key'}") from error


def unreachable(address: str, why: object) -> Unavailable:
    """Return the error for a server that does not answer."""
    return Unavailable(
        "server.unreachable",
        f"Nobody answers at {address} ({why}).",
        hint="Start it with `llmos serve`, or correct LLMOS_URL.",
    )
