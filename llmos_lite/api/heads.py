"""The heads of requests that come again: a client on one connection says the same with each, but for the body's length.

What such a head means is found out once: the parser of HTTP, the edge, credentials and steering read it no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

from llmos_lite.api.auth import Given, given_by
from llmos_lite.api.errors import Scope
from llmos_lite.core.gateway.steering import Steering, steering_of

Headers: TypeAlias = list[tuple[bytes, bytes]]

LARGEST_KEPT = 8 << 10
"""Bytes of a head that is kept for as long as its connection is there."""
LONGEST_LENGTH = 18
"""Digits of the length of a body: more than any disk has bytes."""
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})\r\n", re.IGNORECASE)
_LENGTH_NAME = b"content-length"
_OTHERWISE = frozenset({b"expect", b"transfer-encoding", b"upgrade"})
"""Headers with which a body comes in another way."""
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


def packing_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return how a client says that the body of a request is packed; empty when it is not."""
    for name, value in headers:
        if name == b"content-encoding":
            how = value.strip().lower()
            return b"" if how == b"identity" else how
    return b""


class Head:
    """What the headers of a request say; each reader's part of it is found out when it is first asked.

    Attributes:
        headers: as they came, with names in lower case.
    """

    __slots__ = ("_given", "_packing", "_steering", "headers")

    def __init__(self, headers: Headers) -> None:
        self.headers = headers
        self._given: Given | None = None
        self._steering: Steering | None = None
        self._packing: bytes | None = None

    def given(self) -> Given:
        """Return what they say about who makes the request; see `given_by`."""
        if self._given is None:
            self._given = given_by({"headers": self.headers})
        return self._given

    def steering(self) -> Steering:
        """Return what they say to the gateway; see `steering_of`."""
        if self._steering is None:
            self._steering = steering_of(self.headers)
        return self._steering

    def packing(self) -> bytes:
        """Return how the body is packed; see `packing_of`."""
        if self._packing is None:
            self._packing = packing_of(self.headers)
        return self._packing


class Marks:
    """What the edge looks at.

    Attributes:
        host: of the request; None for none, empty for several.
        lengths: of the body.
        id: of the request; empty when the client gives it none.
        fine: whether the edge has nothing against path and host.
    """

    __slots__ = ("fine", "host", "id", "lengths")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.fine = False
        self.host: bytes | None = None
        self.lengths: list[bytes] = []
        self.id = ""
        for name, value in headers:
            if name == b"host":
                self.host = value if self.host is None else b""
            elif name == _LENGTH_NAME:
                self.lengths.append(value)
            elif name == b"x-request-id" and not self.id and REQUEST_ID.fullmatch(value):
                self.id = value.decode()


class Known(Head):
    """The head that a connection had last, by its bytes.

    Args:
        scope: what ASGI says of its request.
        before: its bytes up to the length of the body.
        after: its bytes behind that.

    Attributes:
        marks: what the edge looks at.
        length: bytes of the body of the request that came last.
    """

    __slots__ = ("_after", "_before", "_place", "_scope", "_start", "length", "marks")

    def __init__(self, scope: Scope, before: bytes, after: bytes) -> None:
        super().__init__(scope["headers"].copy())
        self._scope = dict(scope)
        self._before, self._after, self._start = before, after, len(before)
        self._place = [name for name, _ in self.headers].index(_LENGTH_NAME)
        self.marks, self.length = Marks(self.headers), 0

    @classmethod
    def of(cls, data: bytes, scope: Scope) -> Known | None:
        """Return the head of a request with a body of a known length, of which nothing but more of it may come.

        Each line has to be a header, and to end as it should: then what the parser took for the head is what this is.

        Args:
            data: its bytes.
            scope: what ASGI says of it.
        """
        size = data.find(b"\r\n\r\n", 0, LARGEST_KEPT) + 4
        found = _LENGTH.search(data, 0, size) if size >= 4 else None  # noqa: PLR2004 - it was found
        if found is None or len(data) - size > int(found[1]):
            return None
        headers = scope["headers"]
        names = [name for name, _ in headers]
        if names.count(_LENGTH_NAME) != 1 or not _OTHERWISE.isdisjoint(names):
            return None
        lines = data.count(b"\r\n", 0, size)
        if (_LENGTH_NAME, found[1]) not in headers or not lines == data.count(b"\n", 0, size) == len(headers) + 2:
            return None
        return cls(scope, data[: found.start(1)], data[found.end(1) : size])

    def again(self, data: bytes) -> bytes | None:
        """Return what there is of the body of a request with the same head; None for anything else."""
        if not data.startswith(self._before):
            return None
        end = data.find(b"\r", self._start, self._start + LONGEST_LENGTH + 1)
        length, start = data[self._start : end], end + len(self._after)
        if end < 0 or not length.isdigit() or not data.startswith(self._after, end):
            return None
        self.length = int(length)
        if len(data) - start > self.length:
            return None
        self.headers = self.headers.copy()
        self.headers[self._place] = _LENGTH_NAME, length
        self.marks.lengths = [length]
        return data[start:]

    def scope(self, state: dict[str, object]) -> Scope:
        """Return what ASGI says of the request that came last."""
        scope = self._scope.copy()
        scope["headers"], scope["state"] = self.headers.copy(), state
        return scope
