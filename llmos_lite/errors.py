"""Every error that llmos-lite raises on purpose.

    LlmosError                  status  exit
    |- Invalid                     400     2   the input cannot be meant
    |  '- TooLarge                 413     2   the input is over a limit
    |- Unauthenticated             401     3   no credential, or one that does not hold
    |- Forbidden                   403     3   known, and not allowed to
    |- NotFound                    404     4   no such thing, or none that you may see
    |- Conflict                    409     5   the world changed, or already holds it
    |- RateLimited                 429     6   too much too fast; says when to come back
    |- UpstreamFailed              502     7   the model (or another server) failed
    |  '- UpstreamTimeout          504     7   ... or did not answer in time
    |- Unavailable                 503     8   not now: starting, stopping, busy elsewhere
    '- StorageFailed               507     9   the disk is full, read-only or broken

A kind is what happened; its status and exit code stand here once. `code` is stable and names the
case (`skill.unknown`); `message` says what happened and why; `hint` says what to do about it.
"""

from __future__ import annotations

import errno
from typing import ClassVar, Self, TypeAlias

Detail: TypeAlias = str | int | float | bool | list[str] | None


class LlmosError(Exception):
    """What happened, why, and what to do.

    Args:
        code: stable dotted name of the case, part of the public interface.
        message: one or two sentences for a person.
        hint: what the person can do now; empty when there is nothing to do.
        detail: facts for programs, merged into the problem document.
    """

    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, code: str, message: str, *, hint: str = "", **detail: Detail) -> None:
        super().__init__(message)
        self.code, self.message, self.hint, self.detail = code, message, hint, detail

    def fresh(self) -> Self:
        """Return the same error as nobody has raised it: to be kept, or raised again.

        One that was raised holds the frames that it came through, with all that they worked with, and one that is
        raised again and again more of them each time.
        """
        error = type(self).__new__(type(self), *self.args)
        error.__dict__.update(self.__dict__)
        error.detail = dict(self.detail)
        return error

    @property
    def told(self) -> str:
        """Return what the log says of it."""
        return self.message

    def problem(self) -> dict[str, Detail]:
        """Return the RFC 9457 problem document of this error."""
        body: dict[str, Detail] = {
            "type": f"urn:llmos:error:{self.code}",
            "title": type(self).__name__,
            "status": self.status,
            "code": self.code,
            "detail": self.message,
        }
        if self.hint:
            body["hint"] = self.hint
        return body | {key: value for key, value in self.detail.items() if key not in body}


class Invalid(LlmosError):
    """The input cannot be meant."""

    status, exit_code = 400, 2


class TooLarge(Invalid):
    """The input is over a limit."""

    status = 413


class Unauthenticated(LlmosError):
    """There is no credential, or one that does not hold."""

    status, exit_code = 401, 3


class Forbidden(LlmosError):
    """The actor is known and may not do this."""

    status, exit_code = 403, 3


class NotFound(LlmosError):
    """There is no such thing, or none that the actor may see."""

    status, exit_code = 404, 4


class Conflict(LlmosError):
    """The world changed meanwhile, or already holds what was to be made."""

    status, exit_code = 409, 5


class RateLimited(LlmosError):
    """Too much too fast; `detail["retry_after"]` says in seconds when to come back."""

    status, exit_code = 429, 6


class UpstreamFailed(LlmosError):
    """The model, or another server that we asked, failed.

    Attributes:
        place: where that server is, for the log and for whoever runs this one; nobody else is told.
    """

    status, exit_code = 502, 7
    place = ""

    def at(self, place: str) -> Self:
        """Return this error, which knows where the server is."""
        self.place = place
        return self

    @property
    def told(self) -> str:
        """Return what the log says of it: what happened, and where."""
        return f"{self.message} It is at {self.place}." if self.place else self.message


class UpstreamTimeout(UpstreamFailed):
    """The model, or another server that we asked, did not answer in time."""

    status = 504


class Unavailable(LlmosError):
    """Not now: the server starts, stops, or waits for something else."""

    status, exit_code = 503, 8


class StorageFailed(LlmosError):
    """The disk is full, read-only or broken."""

    status, exit_code = 507, 9


def too_deep() -> Invalid:
    """Return the error for JSON of more levels than are read."""
    return Invalid("request.too_deep", "The request is nested too deeply.", hint="Send fewer levels.")


def storage_error(error: OSError, what: str) -> StorageFailed:
    """Turn an `OSError` from the disk into the sentence that a person needs.

    Args:
        error: what the system said.
        what: the thing that could not be done, as in "store the trace".
    """
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageFailed("storage.full", f"Could not {what}: the disk is full.", hint="Free space, then try again.")
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return StorageFailed(
            "storage.readonly",
            f"Could not {what}: the data folder cannot be written ({error.strerror}).",
            hint="Make the data folder writable for the user that runs llmos.",
        )
    return StorageFailed("storage.failed", f"Could not {what}: {error.strerror or error}.", hint="Look at the disk.")
