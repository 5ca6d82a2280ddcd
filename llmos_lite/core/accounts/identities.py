"""By which names others know a person: an e-mail address, and the ids of other systems, as Open WebUI sends them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from llmos_lite.errors import Invalid
from llmos_lite.volumes.access import ID_LENGTH

OPEN_WEBUI = "openwebui"
EMAIL_LENGTH, SUBJECT_LENGTH = 254, 255
# ASCII alone: letters that look alike, or fold into each other, must not make one address of two.
_EMAIL = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-z0-9](?:[a-z0-9.-]{0,188}[a-z0-9])?")
_PROVIDER = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
_OTHER = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class FrontEndUser:
    """Whom a front end says it speaks for; believed only with a key that has `act-as`.

    Args:
        provider: the front end.
        subject: the person's id there.
        email: the person's address; empty when unknown.
        name: how the front end calls the person.
    """

    provider: str
    subject: str
    email: str = ""
    name: str = ""

    @property
    def identity(self) -> tuple[str, str]:
        """Return what tells the person apart; the rest may change."""
        return self.provider, self.subject


def clean_email(text: str) -> str:
    """Return an address as it is kept and compared: without spaces around it, in lower case.

    Raises:
        Invalid: `email.invalid`.
    """
    email = text.strip().lower()
    # as it came: the Kelvin sign becomes a plain k in lower case
    if len(email) > EMAIL_LENGTH or not text.isascii() or not _EMAIL.fullmatch(email) or ".." in email:
        raise Invalid("email.invalid", f"{text[:80]!r} is no e-mail address.", hint="Write it as name@example.org.")
    return email


def check_identity(provider: str, subject: str) -> tuple[str, str]:
    """Return the name of a person in another system.

    Raises:
        Invalid: `identity.invalid`.
    """
    if len(provider) > ID_LENGTH or not _PROVIDER.fullmatch(provider):
        raise Invalid("identity.invalid", f"{provider[:64]!r} names no system.", hint="Write it as openwebui.")
    if not 0 < len(subject) <= SUBJECT_LENGTH or not subject.isprintable():
        raise Invalid("identity.invalid", f"An id in another system has 1 to {SUBJECT_LENGTH} printable characters.")
    return provider, subject


def id_like(text: str, number: int) -> str:
    """Return an id made from a name or address: the first one, or the `number`th for the same text."""
    plain = _OTHER.sub("-", text.partition("@")[0].lower()).strip("-") or "user"
    end = f"-{number}" if number > 1 else ""
    return plain[: ID_LENGTH - len(end)].strip("-") + end


def shown_name(user: FrontEndUser) -> str:
    """Return how a front end calls somebody; Open WebUI writes what is not ASCII in percent signs."""
    return unquote(user.name)
