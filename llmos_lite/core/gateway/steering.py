"""What the headers of a request say to the gateway itself, and which of the others pass on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from llmos_lite.core.chat.disclosure import Disclosure
from llmos_lite.core.traces.importers.base import conversation_id
from llmos_lite.errors import Invalid
from llmos_lite.volumes.access import check_id

MOST_NAMED = 20
_OWN = (b"x-llmos-", b"x-openwebui-", b"x-forwarded-", b"sec-", b"proxy-")
_CONNECTION = frozenset(
    {
        b"accept-encoding",  # the answer is read on its way
        b"connection",
        b"content-encoding",  # a packed body is unpacked
        b"content-length",
        b"cookie",
        b"expect",
        b"forwarded",
        b"host",
        b"keep-alive",
        b"origin",
        b"referer",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"x-real-ip",
    }
)
_CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"})
_SESSIONS = (
    b"x-llmos-conversation",
    b"x-claude-code-session-id",
    b"x-openwebui-chat-id",
    b"session-id",
    b"session_id",
    b"thread-id",
    b"x-session-id",
)
"""Where clients name a conversation, the first that is there counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """What a request says to us.

    Args:
        skills: ids that shall be used; None leaves the choice to us, none switches skills off.
        team: in whose context this happens; empty for the person's own.
        conversation: what the client calls the conversation; empty when it does not say.
        record: False keeps it out of the traces.
        disclosure: what a new conversation gets of skills; None takes the setting.
        own_key: whether the client's own credential goes to the provider.
        passed: the headers that pass on.
    """

    skills: tuple[str, ...] | None = None
    team: str = ""
    conversation: str = ""
    record: bool = True
    disclosure: Disclosure | None = None
    own_key: bool = False
    passed: dict[str, str]


def steering_of(headers: Iterable[tuple[bytes, bytes]]) -> Steering:
    """Read the headers of a request, their names in lower case.

    Raises:
        Invalid: `request.invalid`, `skill.invalid_id`, `team.invalid_id`.
    """
    ours: dict[bytes, str] = {}
    passed: dict[bytes, bytes] = {}
    for name, value in headers:
        if name.startswith(b"x-llmos-") or name in _SESSIONS:
            ours.setdefault(name, value.decode("latin-1").strip())
        if name not in _CONNECTION and not name.startswith(_OWN):
            passed[name] = value
    own_key = b"x-llmos-key" in ours
    return Steering(
        skills=_skills(ours.get(b"x-llmos-skills")),
        team=check_id(ours[b"x-llmos-team"], "team") if ours.get(b"x-llmos-team") else "",
        conversation=conversation_id(next((ours[name] for name in _SESSIONS if ours.get(name)), "")),
        record=_recorded(ours.get(b"x-llmos-record")),
        disclosure=_disclosure(ours.get(b"x-llmos-disclosure")),
        own_key=own_key,
        passed={
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in passed.items()
            if own_key or name not in _CREDENTIALS
        },
    )


def _skills(text: str | None) -> tuple[str, ...] | None:
    if text is None or text.lower() in {"", "on", "auto"}:
        return None
    if text.lower() in {"off", "none"}:
        return ()
    named = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if len(named) > MOST_NAMED:
        raise Invalid("request.invalid", f"The header X-LLMOS-Skills names more than {MOST_NAMED} skills.")
    return tuple(check_id(name, "skill") for name in named)


def _disclosure(text: str | None) -> Disclosure | None:
    try:
        return Disclosure(text.lower()) if text else None
    except ValueError:
        raise Invalid(
            "request.invalid",
            "The header X-LLMOS-Disclosure is none of auto, bodies and catalog.",
            hint="Leave it out for the server's setting.",
        ) from None


def _recorded(text: str | None) -> bool:
    word = "on" if text is None else text.lower()
    if word in {"on", "true", "1", "yes"}:
        return True
    if word in {"off", "false", "0", "no"}:
        return False
    raise Invalid("request.invalid", "The header X-LLMOS-Record is neither on nor off.", hint="Send off, or none.")
