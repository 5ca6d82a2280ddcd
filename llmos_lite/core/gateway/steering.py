"""What the headers of a request say to the gateway itself, and which of the others pass on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from llmos_lite.core.accounts.keys import key_beside
from llmos_lite.core.chat.disclosure import Disclosure
from llmos_lite.core.traces.importers.base import conversation_id
from llmos_lite.errors import Invalid
from llmos_lite.volumes.access import check_id

MOST_NAMED = 20
_OWN = (b"x-llmos-", b"x-openwebui-", b"x-forwarded-", b"sec-", b"proxy-")
_INITIALS = frozenset(name[:1] for name in _OWN)
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
_STAYING = _CONNECTION | {b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"}
"""What does not pass unless the client has a key of ours beside its own."""
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
_NAMING = frozenset(_SESSIONS)
_READ = _NAMING | {
    b"x-llmos-disclosure",
    b"x-llmos-key",
    b"x-llmos-record",
    b"x-llmos-skills",
    b"x-llmos-team",
}


class Steering(msgspec.Struct, frozen=True, kw_only=True):
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


def steering_of(headers: Collection[tuple[bytes, bytes]]) -> Steering:
    """Read the headers of a request, their names in lower case.

    Raises:
        Invalid: `request.invalid`, `skill.invalid_id`, `team.invalid_id`.
    """
    ours: dict[bytes, str] = {}
    for name, value in headers:
        if name in _READ and name not in ours:
            ours[name] = value.decode("latin-1").strip()
    own_key = b"x-llmos-key" in ours and any(key_beside(value) for name, value in headers if name == b"x-llmos-key")
    passed = _passed(headers, _CONNECTION if own_key else _STAYING)
    if not ours:
        return Steering(passed=passed)
    return Steering(
        skills=_skills(ours.get(b"x-llmos-skills")),
        team=check_id(ours[b"x-llmos-team"], "team") if ours.get(b"x-llmos-team") else "",
        conversation="" if _NAMING.isdisjoint(ours) else _conversation(ours),
        record=_recorded(ours[b"x-llmos-record"]) if b"x-llmos-record" in ours else True,
        disclosure=_disclosure(ours[b"x-llmos-disclosure"]) if b"x-llmos-disclosure" in ours else None,
        own_key=own_key,
        passed=passed,
    )


def _passed(headers: Iterable[tuple[bytes, bytes]], staying: frozenset[bytes]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        if name not in staying and not (name[:1] in _INITIALS and name.startswith(_OWN)):
            found[name.decode("latin-1")] = value.decode("latin-1")
    return found


def _conversation(ours: Mapping[bytes, str]) -> str:
    return conversation_id(next((ours[name] for name in _SESSIONS if ours.get(name)), ""))


def _skills(text: str | None) -> tuple[str, ...] | None:
    word = "" if text is None else text.lower()
    if text is None or word in {"", "on", "auto"}:
        return None
    if word in {"off", "none"}:
        return ()
    named = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if len(named) > MOST_NAMED:
        raise Invalid("request.invalid", f"The header X-LLMOS-Skills names more than {MOST_NAMED} skills.")
    return tuple(check_id(name, "skill") for name in named)


def _disclosure(text: str) -> Disclosure | None:
    try:
        return Disclosure(text.lower()) if text else None
    except ValueError:
        raise Invalid(
            "request.invalid",
            "The header X-LLMOS-Disclosure is none of auto, bodies and catalog.",
            hint="Leave it out for the server's setting.",
        ) from None


def _recorded(text: str) -> bool:
    word = text.lower()
    if word in {"on", "true", "1", "yes"}:
        return True
    if word in {"off", "false", "0", "no"}:
        return False
    raise Invalid("request.invalid", "The header X-LLMOS-Record is neither on nor off.", hint="Send off, or none.")
