"""What carries messages of the protocol between a pipe and `/mcp`: it knows what HTTP needs of them, and no more.

So both ways answer alike, in both revisions. A server that restarts, or a folder that others used meanwhile, has
forgotten the session; then the pipe shakes hands again, and the client does not notice.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress

from llmos_lite.cli.client import JSON, Client, Json, Reply, events
from llmos_lite.errors import LlmosError, Unavailable

LONGEST = 4 << 20
"""Bytes of a message; the server takes less."""
EVENTS = "text/event-stream"
PATIENCE = 20.0
"""Seconds to wait for a data folder that another command uses."""
AGAIN = 5.0
"""Seconds before a stream that broke is opened again."""
PARSE_ERROR, INVALID_REQUEST, INTERNAL_ERROR, NO_METHOD = -32700, -32600, -32603, -32601
GONE = 404
_VERSION = "io.modelcontextprotocol/protocolVersion"
_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Which parameter of a method a header repeats, from revision 2026-07-28 on."""
_PLAIN = re.compile(r"(?! )[\x20-\x7e]*(?<! )")


class Pipe:
    """One client.

    Args:
        opened: finds the server or the folder.
        path: of the protocol there.
        write: sends the client one message.
    """

    def __init__(
        self, opened: Callable[[], AbstractContextManager[Client]], path: str, write: Callable[[bytes], None]
    ) -> None:
        self._opened, self._path, self._write = opened, path, write
        self._stack = ExitStack()
        self._client: Client | None = None
        self._hands = b""
        self._session: dict[str, str] = {}
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._listening: set[str] = set()

    # -- from the client -----------------------------------------------------------------------------------------------

    def take(self, line: bytes) -> None:
        """Carry one message to the server, and its answer back."""
        message = _parsed(line) if len(line) <= LONGEST else None
        if not isinstance(message, dict):
            self._refuse({"id": None}, PARSE_ERROR if message is None else INVALID_REQUEST, "This is no message.")
        elif isinstance(message.get("method"), str):
            try:
                self._carry(line, message)
            except LlmosError as error:
                self._refuse(message, INTERNAL_ERROR, f"{error.message} {error.hint}".strip(), error.code)

    def rest(self) -> None:
        """Let go of a data folder while the client asks nothing; a server stays as it is."""
        if self._client is not None and not self._is_remote():
            self._release()

    def close(self) -> None:
        """End the session."""
        self._ended.set()
        if self._session and self._client is not None and self._is_remote():
            with suppress(LlmosError):
                self._send("DELETE", self._session)
        self._release()

    # -- to the server -------------------------------------------------------------------------------------------------

    def _carry(self, line: bytes, message: Json) -> None:
        method = str(message["method"])
        if method == "notifications/cancelled":
            self._listening.discard(_key(_params(message).get("requestId")))
        headers = _modern(message)
        if method == "subscriptions/listen":
            self._listen(line, message, headers or {})
        elif headers is not None:
            self._answer(message, self._post(line, headers))
        elif method == "initialize":
            self._hands = line
            self._answer(message, self._shake(line))
        else:
            self._answer(message, self._in_session(line))
            if method == "notifications/initialized":
                self._follow()

    def _shake(self, line: bytes) -> tuple[int, bytes]:
        reply = self._send("POST", {}, line)
        body = b"".join(reply.chunks())
        result = _object(_parsed(body)).get("result")
        if session := reply.headers.get("mcp-session-id"):
            version = _object(result).get("protocolVersion", "")
            self._session = {"mcp-session-id": session, "mcp-protocol-version": str(version)}
        return reply.status, body

    def _in_session(self, line: bytes) -> tuple[int, bytes]:
        status, body = self._post(line, self._session)
        lost = status == GONE and self._session and _object(_parsed(body)).get("id") is None
        if not lost:
            return status, body
        self._shake(self._hands)
        self._post(b'{"jsonrpc":"2.0","method":"notifications/initialized"}', self._session)
        return self._post(line, self._session)

    def _post(self, line: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        reply = self._send("POST", headers, line)
        return reply.status, b"".join(reply.chunks())

    def _send(
        self, method: str, headers: Mapping[str, str], body: bytes | None = None, accept: str = f"{JSON}, {EVENTS}"
    ) -> Reply:
        return self._connected().send(method, self._path, body=body, accept=accept, refuse=False, more=headers)

    def _connected(self) -> Client:
        """Return what speaks to the server, found anew when it was let go of."""
        deadline = time.monotonic() + PATIENCE
        while self._client is None:
            try:
                self._client = self._stack.enter_context(self._opened())
            except Unavailable as error:
                if error.code != "data.locked" or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        return self._client

    def _release(self) -> None:
        self._client = None
        self._stack.close()

    def _is_remote(self) -> bool:
        from llmos_lite.cli.remote import HttpTransport  # noqa: PLC0415 - not needed for a folder

        return self._client is not None and isinstance(self._client.transport, HttpTransport)

    # -- changes, which come by themselves -----------------------------------------------------------------------------

    def _listen(self, line: bytes, message: Json, headers: Mapping[str, str]) -> None:
        self._connected()
        if not self._is_remote():
            self._refuse(message, NO_METHOD, "Changes are told by a server only; this is a data folder.")
            return
        key = _key(message.get("id"))
        self._listening.add(key)

        def work() -> None:
            try:
                reply = self._send("POST", headers, line)
                if EVENTS not in reply.headers.get("content-type", ""):
                    self._answer(message, (reply.status, b"".join(reply.chunks())))
                for _, said in events(reply):
                    if key not in self._listening:
                        return
                    self._tell(json.dumps(said).encode())
            except LlmosError as error:
                self._refuse(message, INTERNAL_ERROR, error.message, error.code)

        threading.Thread(target=work, daemon=True).start()

    def _follow(self) -> None:
        """Hear what the server tells a session; over a folder there is nobody who would tell."""
        if self._session and self._is_remote():
            threading.Thread(target=self._followed, daemon=True).start()

    def _followed(self) -> None:
        while not self._ended.is_set():
            with suppress(LlmosError):
                reply = self._send("GET", self._session, accept=EVENTS)
                if EVENTS in reply.headers.get("content-type", ""):
                    for _, said in events(reply):
                        self._tell(json.dumps(said).encode())
            self._ended.wait(AGAIN)

    # -- to the client -------------------------------------------------------------------------------------------------

    def _answer(self, message: Json, reply: tuple[int, bytes]) -> None:
        """Hand an answer on; a refusal of the server itself becomes an error of the protocol."""
        status, body = reply
        said = _object(_parsed(body))
        if "id" not in message:
            return
        if "jsonrpc" in said and said.get("id") == message["id"]:
            self._tell(b" ".join(body.splitlines()))
        else:
            error = _object(said.get("error"))
            text = f"{said.get('detail', error.get('message', f'HTTP {status}'))} {said.get('hint', '')}"
            self._refuse(message, INTERNAL_ERROR, text.strip(), str(said.get("code", "")))

    def _refuse(self, message: Json, code: int, text: str, name: str = "") -> None:
        if "id" in message:
            error = {"code": code, "message": text} | ({"data": {"code": name}} if name else {})
            self._tell(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode())

    def _tell(self, message: bytes) -> None:
        with self._lock:
            self._write(message)


def _parsed(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _object(found: object) -> Json:
    return found if isinstance(found, dict) else {}


def _params(message: Json) -> Json:
    return _object(message.get("params"))


def _key(request_id: object) -> str:
    return json.dumps(request_id)


def _modern(message: Json) -> dict[str, str] | None:
    """Return the headers of a message of revision 2026-07-28, which carries its revision; None for one before."""
    params = _params(message)
    version = _object(params.get("_meta")).get(_VERSION)
    method = str(message["method"])
    if not isinstance(version, str) or method == "initialize":
        return None
    headers = {"mcp-protocol-version": version, "mcp-method": method}
    name = params.get(_NAMED.get(method, ""))
    named = {"mcp-name": name} if isinstance(name, str) else {}
    return {key: _header(value) for key, value in (headers | named).items()}


def _header(text: str) -> str:
    """Return text as a header holds it: as it is, or in the protocol's base64."""
    if _PLAIN.fullmatch(text) and not text.startswith("=?"):
        return text
    return f"=?base64?{base64.b64encode(text.encode(errors='replace')).decode()}?="
